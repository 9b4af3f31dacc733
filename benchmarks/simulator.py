"""`python -m benchmarks simulator`: CPU time of planning's innermost part, for large schedules."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from time import process_time

from benchmarks.tool import Tool
from gru_parallel.schedule import Action, Op, build_schedule, simulate

# (schedule, micro-batches, chunks): 1,024 cells in each way of cutting them.
CASES = (("one_f_one_b", 1, 1024), ("gpipe", 32, 32), ("zero_bubble", 32, 32))


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--stages", type=int, default=64, help="number of stages (default 64)")


def run(options: Namespace) -> int:
    """Build, check and simulate each schedule once, as a plan does that nobody made before."""
    for name, n_micro_batches, n_chunks in CASES:
        start = process_time()
        schedule = build_schedule(name, options.stages, n_micro_batches, n_chunks)
        built = process_time()
        timeline = simulate(schedule, cost_ms, lambda _: 0.1)
        end = process_time()
        print(
            f"{name}, {options.stages} stages, {n_micro_batches} x {n_chunks} cells: built and"
            f" checked in {built - start:.2f} s, simulated in {end - built:.2f} s;"
            f" {len(timeline.events)} actions, bubble {timeline.bubble:.1%}"
        )
    return 0


def cost_ms(action: Action) -> float:
    return 2.0 if action.op is Op.B else 1.0


SIMULATOR = Tool(
    "simulator", "measure the CPU time of simulating large schedules", add_options, run
)
