"""The examples run, and what they show is so."""

from pathlib import Path

from tests.rank_processes import start

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name: str) -> list[str]:
    # A rank alone, to spare the import of torch.
    with start(1, [str(EXAMPLES / name)]) as processes:
        (ended,) = processes.ends()
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def test_the_drop_in_trains_to_the_losses_of_nn_gru() -> None:
    heading, *rows, last = run_example("drop_in.py")

    assert heading.split() == ["step", "nn.GRU", "gru_parallel.GRU"]
    losses = [[float(loss) for loss in row.split()[1:]] for row in rows]
    assert len(losses) == 12
    assert all(abs(found - expected) <= 1e-5 * expected for expected, found in losses)
    assert losses[-1][0] < losses[0][0] / 2
    assert last.endswith(": the same")


def test_the_training_loop_ends_with_predictions_and_is_the_same_with_a_process_a_stage() -> None:
    with start(2, [str(EXAMPLES / "ranks.py")]) as processes:
        *rows, last = run_example("train_loop.py")
        first, second = processes.ends()

    assert len(rows) == 20
    assert last == "predictions: (64, 24, 1)"
    assert first.stderr == second.stderr == second.stdout == ""
    assert first.stdout.splitlines() == [row.partition("  bubble")[0] for row in rows] + [last]
