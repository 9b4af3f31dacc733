"""`python -m benchmarks queueing`: what the host does to queue a replayed step, without its device.

On a GPU a step is queued by the host while the GPU works. Here steps are replayed on the CPU, and
each replay does nothing: what is left is what this library does around the launches.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from statistics import median
from time import process_time

from benchmarks.shapes import Shape
from benchmarks.tool import Tool

N_STEPS = 500
N_BEFORE = 20
"""Steps that are not counted, of which one is recorded."""

N_CHUNKS = 16
LAYERS = 8


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--stages", type=int, nargs="+", default=[1, 4], help="numbers of stages (default 1 4)"
    )


def run(options: Namespace) -> int:
    """Replay many steps of a tiny stack, for each number of stages."""
    for n_stages in options.stages:
        steps, backwards = zip(*times_ms(n_stages), strict=True)
        print(
            f"{n_stages} stages, {N_CHUNKS} chunks: train_step {min(steps):.3f} ms of CPU time at"
            f" least, {median(steps):.3f} in the median; backward {min(backwards):.3f} and"
            f" {median(backwards):.3f}"
        )
    return 0


def times_ms(n_stages: int) -> list[tuple[float, float]]:
    """Measure the CPU time of `train_step` and of `backward` for many steps."""
    # Kept out of the import of this module: the other commands need no torch.
    from unittest.mock import patch

    from benchmarks.batch import draw_batch
    from benchmarks.model import make_model
    from gru_parallel.engine.threads import ThreadEngine
    from gru_parallel.model import LOSSES, Windows
    from gru_parallel.placement import Grid, Plan, StagePlan
    from gru_parallel.stage.cpu_recorder import CPURecording

    shape = Shape(hidden_size=8, batch_size=4, n_steps=N_CHUNKS, num_layers=LAYERS)
    share = LAYERS // n_stages
    stages = (StagePlan(f"cpu:{index}", index * share, share) for index in range(n_stages))
    plan = Plan(LAYERS, Grid(1, "one_f_one_b", 1, N_CHUNKS), tuple(stages))
    windows = Windows(*draw_batch(shape))
    found = []
    with (
        patch.object(CPURecording, "replay", lambda _: None),
        ThreadEngine(make_model(shape), plan, LOSSES["mse"], graphs=True) as engine,
    ):
        for _ in range(N_BEFORE + N_STEPS):
            start = process_time()
            loss = engine.train_step(windows)
            queued = process_time()
            loss.backward()
            found.append((1e3 * (queued - start), 1e3 * (process_time() - queued)))
        assert engine.why_not_replayed is None, engine.why_not_replayed
    return found[N_BEFORE:]


QUEUEING = Tool(
    "queueing", "measure the CPU time of queueing steps that are replayed", add_options, run
)
