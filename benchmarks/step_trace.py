"""What a reader meets in one training step: files, functions and classes of the package."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from benchmarks.call_trace import Trace, listing, report
from benchmarks.shapes import Shape
from benchmarks.tool import Tool
from benchmarks.variants import Pipeline

SHAPE = Shape(hidden_size=8, batch_size=4, n_steps=8, num_layers=4)
PIPELINE = Pipeline(n_micro_batches=2, n_chunks=2)


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--list", action="store_true", help="also list the functions by file, as they are called"
    )


def run(options: Namespace) -> int:
    """Trace a step of the threads engine, the third, and the backward pass of its loss."""
    # Kept out of the import of this module: the other commands need no torch.
    import torch
    from torch import nn

    import gru_parallel
    from gru_parallel.engine.threads import ThreadEngine
    from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows

    size = SHAPE.hidden_size
    stack = GRUStack(size, size, SHAPE.num_layers)
    model = StackModel(nn.Linear(3, size), stack, WindowHead(size, (5, 2)))
    x = torch.randn(SHAPE.batch_size, SHAPE.n_steps, 3)
    y = torch.randn(SHAPE.batch_size, 5, 2)
    trace = Trace(Path(gru_parallel.__file__).parent)
    engine = ThreadEngine(model, PIPELINE.plan(SHAPE), LOSSES["mse"])
    try:
        for _ in range(2):
            engine.train_step(Windows(x, y)).backward()
        with trace.recording():
            loss = engine.train_step(Windows(x, y))
        n_functions = len(trace.functions)
        with trace.recording():
            loss.backward()
    finally:
        engine.close()
        trace.close()
    if options.list:
        print(listing(trace), end="\n\n")
    print(report(trace, n_functions))
    return 0


TRACE = Tool(
    "trace", "count what of the package one warm training step goes through", add_options, run
)
