"""Draw the timelines of the documentation into docs/pictures; simulated, so always the same."""

from pathlib import Path

from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning import predict
from gru_parallel.report.timeline_picture import draw_timeline
from gru_parallel.schedule import Timeline

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"

N_STAGES = 4
FORWARD_MS, BACKWARD_MS = 16.0, 32.0  # of one stage, for the whole batch and window
DEVICES = [f"cuda:{stage}" for stage in range(N_STAGES)]


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    uncut = step_of("gpipe", n_micro_batches=1, n_chunks=1)
    draw(uncut, "one_chunk", "4 stages, time uncut: only one works at a time")
    # On the time scale of the uncut one, so that the picture shows how much sooner the step ends.
    draw(
        step_of("gpipe", n_micro_batches=1, n_chunks=16),
        "sixteen_chunks",
        "The same 4 stages, time cut into 16 chunks: all work at once",
        until_ms=uncut.step_ms,
    )
    draw(
        step_of("one_f_one_b", n_micro_batches=4, n_chunks=4),
        "one_f_one_b",
        "1F1B: 4 stages, 4 micro-batches x 4 chunks",
    )


def step_of(schedule: str, n_micro_batches: int, n_chunks: int) -> Timeline:
    stages = tuple(StagePlan(device, stage, 1) for stage, device in enumerate(DEVICES))
    plan = Plan(N_STAGES, Grid(1, schedule, n_micro_batches, n_chunks), stages)
    return predict(plan, [(FORWARD_MS, BACKWARD_MS)] * N_STAGES)


def draw(timeline: Timeline, name: str, title: str, until_ms: float | None = None) -> None:
    path = PICTURES / f"{name}.png"
    draw_timeline(timeline, path, title, DEVICES, until_ms)
    print(f"docs/pictures/{path.name}: step {timeline.step_ms:g} ms, bubble {timeline.bubble:.1%}")


if __name__ == "__main__":
    main()
