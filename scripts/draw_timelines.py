"""Draw the timelines of the documentation into docs/pictures; simulated, so always the same."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imsave
from numpy.typing import NDArray

from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning import predict
from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.stage_times import StageTimes
from gru_parallel.report.timeline_picture import timeline_figure
from gru_parallel.schedule import Timeline

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"

N_STAGES = 4
PART_MS = 16.0  # each of F, B and W of one stage, for the whole batch and window
DEVICES = [f"cuda:{stage}" for stage in range(N_STAGES)]
DOTS_PER_INCH = 150


def main() -> None:
    uncut = step_of("gpipe", n_micro_batches=1, n_chunks=1)
    cut = step_of("gpipe", n_micro_batches=1, n_chunks=16)
    interleaved = step_of("one_f_one_b", n_micro_batches=4, n_chunks=4)
    save(
        "time_cut",
        drawn(uncut, "4 stages, time uncut: only one works at a time"),
        # On the time scale of the uncut one, to show how much sooner the step ends.
        drawn(cut, "The same 4 stages, time cut into 16 chunks: all work at once", uncut.step_ms),
    )
    filled = step_of("zero_bubble", n_micro_batches=4, n_chunks=4)
    save("one_f_one_b", drawn(interleaved, "1F1B: 4 stages, 4 micro-batches x 4 chunks"))
    title = "Zero bubble: the same, with the weights' gradients where a stage would wait"
    save("zero_bubble", drawn(filled, title, interleaved.step_ms))
    one, other = (step_of(name, 1, 6) for name in ("one_f_one_b", "zero_bubble"))
    title = "Zero bubble: a shorter B, and W where a stage would wait"
    save(
        "one_step",
        drawn(one, "1F1B: 4 stages, 1 micro-batch x 6 chunks"),
        drawn(other, title, one.step_ms),
    )


def step_of(schedule: str, n_micro_batches: int, n_chunks: int) -> Timeline:
    stages = tuple(StagePlan(device, stage, 1) for stage, device in enumerate(DEVICES))
    plan = Plan(N_STAGES, Grid(1, schedule, n_micro_batches, n_chunks), stages)
    cell_ms = PART_MS / (n_micro_batches * n_chunks)
    times = StageTimes(CellTimes(cell_ms, cell_ms, cell_ms, 2 * cell_ms))
    return predict(plan, [times] * N_STAGES)


def drawn(timeline: Timeline, title: str, until_ms: float | None = None) -> NDArray[np.uint8]:
    figure = timeline_figure(timeline, title, DEVICES, until_ms)
    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def save(name: str, *timelines: NDArray[np.uint8]) -> None:
    """Write timelines into one file, one below the other."""
    path = PICTURES / f"{name}.png"
    # The file would name matplotlib's version, and so change with it.
    imsave(path, np.vstack(timelines), metadata={"Software": None})
    print(f"docs/pictures/{path.name}")


if __name__ == "__main__":
    main()
