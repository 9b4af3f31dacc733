"""Commands that use a finished run come to the same over two ranks as in threads."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.finished import OF_FILE, finish_run, use_over_ranks
from tests.cli.in_process import Ended, RunCommand

PREDICT = (
    "predict",
    "run=run",
    "cutoffs=[2024-01-02,2024-01-03,2024-01-04]",
    "data.batch_size=2",
)
RANKS = "engine=processes"


def assert_said_once(ends: Sequence[Sequence[Ended]]) -> None:
    for first, other in ends:
        assert (first.status, other.status) == (0, 0), (first.err, other.err)
        assert (first.err, other.out, other.err) == ("", "", "")


@pytest.mark.long
@pytest.mark.parametrize("loss", ["mse", "quantile"])
def test_two_ranks_come_to_what_one_process_does_and_say_it_once(
    loss: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE, f"model.loss={loss}")
    expected = json.loads((run / "summary.json").read_text())["test_metrics"]
    alone = use_command(*PREDICT, "output=alone.csv")
    rolled = use_command("backtest", "run=run")
    assert (alone.status, rolled.status) == (0, 0), alone.err + rolled.err

    ends = use_over_ranks(
        [
            ("evaluate", "run=run", RANKS, "output=there"),
            (*PREDICT, RANKS, "output=ranks.csv"),
            ("backtest", "run=run", RANKS, "output=rolled"),
        ],
        Path.cwd(),
    )

    assert_said_once(ends)
    for name in ("forecasts.csv", "backtest.csv"):
        assert Path(f"rolled/{name}").read_bytes() == (run / "backtest" / name).read_bytes()
    measured = [
        json.loads((folder / "backtest.json").read_text())
        for folder in (Path("rolled"), run / "backtest")
    ]
    for name in ("test_metrics", "baselines", "by_step"):
        assert measured[0][name] == measured[1][name]
    assert json.loads(Path("there/evaluation.json").read_text())["test_metrics"] == expected
    assert Path("ranks.csv").read_bytes() == Path("alone.csv").read_bytes()


@pytest.mark.long
def test_replicas_bring_their_rows_together_and_a_mistake_is_said_once(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    alone = use_command(*PREDICT, "output=alone.csv")
    assert alone.status == 0, alone.err

    replicas, refused = use_over_ranks(
        [
            (*PREDICT, RANKS, "engine.data_parallel=2", "output=replicas.csv"),
            (*PREDICT, RANKS, "data.path=nope.csv"),
        ],
        Path.cwd(),
    )

    assert_said_once([replicas])
    lines = [Path(f"{name}.csv").read_text().splitlines() for name in ("alone", "replicas")]
    # The last of three windows leaves nothing for the second replica.
    assert [line.split(",")[:4] for line in lines[1]] == [line.split(",")[:4] for line in lines[0]]
    assert [ended.status for ended in refused] == [2, 2]
    (said,) = [line for ended in refused for line in ended.err.splitlines()]
    assert said.startswith("gru_parallel: data.path=nope.csv does not exist")
