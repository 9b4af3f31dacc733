"""A handful of the faults of `make test-faults`, and that a trial would see what it looks for."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from tests.faults import trial
from tests.faults.damage import DAMAGES, DamageKind, try_damage
from tests.faults.kinds import KINDS
from tests.faults.outcome import BAD, HANG, LOST, UNNAMED, Outcome, table
from tests.faults.report import PAGE, Report, with_table
from tests.faults.scene import Scene
from tests.faults.trial import IN_A_CHECKPOINT, IN_A_STEP, Kind, Result, try_fault, undisturbed
from tests.faults.witness import Account

KIND = {kind.name: kind for kind in KINDS}
SEED = 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder and the result of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    return folder / "disk" / "run", undisturbed(folder)


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("SIGKILL of the run", IN_A_CHECKPOINT),
        pytest.param("SIGKILL of a rank", IN_A_STEP, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_harmed_and_resumed_is_the_one_that_nothing_disturbed(
    name: str, moment: str, alone: tuple[Path, Result], tmp_path: Path
) -> None:
    kind = replace(KIND[name], moments=(moment,))

    outcome = try_fault(kind, SEED, 0, alone[1], tmp_path / "trial")

    assert outcome.verdict == "", outcome.problem
    assert outcome.end_s is not None
    assert outcome.steps_repeated is not None


@pytest.mark.parametrize("kind", DAMAGES, ids=lambda kind: kind.name)
def test_a_damaged_checkpoint_is_not_taken(
    kind: DamageKind, alone: tuple[Path, Result], tmp_path: Path
) -> None:
    for number in range(3):
        outcome = try_damage(kind, SEED, number, [alone[0]], tmp_path / str(number))

        assert outcome.verdict == "", outcome.problem


def test_a_checkpoint_that_was_changed_on_purpose_would_be_seen(
    alone: tuple[Path, Result], tmp_path: Path
) -> None:
    def forge(file: Path, _: Random) -> None:
        saved = torch.load(file, weights_only=True)
        saved["state_dict"] = {name: w + 1 for name, w in saved["state_dict"].items()}
        torch.save(saved, file)

    forged = try_damage(DamageKind("forged", 1, forge), SEED, 0, [alone[0]], tmp_path / "forged")

    assert forged.verdict == BAD


class StandIn:
    """A run that has one process, or none, and a status."""

    def __init__(self, ends: bool, status: int = 0, said: str = "") -> None:
        self.ends = ends
        self._status, self._said = status, said

    def running(self) -> dict[str, int]:
        return {} if self.ends else {"run": 0, "other": 1}

    def signal(self, name: str, number: signal.Signals) -> None:
        pass

    def said(self) -> str:
        return self._said

    def status(self) -> int:
        return self._status

    def kill(self) -> None:
        self.ends = True


def stand_in(*, ends: bool = True, status: int = 0, others: Path | None = None) -> Kind:
    """Make a kind whose runs are stand-ins, and leave the folder of another run as theirs."""

    def start(scene: Scene, arguments: object) -> StandIn:
        if others is not None:
            shutil.copytree(others, scene.run_folder, dirs_exist_ok=True)
        return StandIn(ends, status)

    return Kind("a fault", 1, start, ("run",), trial.kill, moments=(trial.START_UP,))


def test_a_trial_sees_a_hang_a_lost_run_and_another_result(
    alone: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "ALL_END_WITHIN_S", 0.1)
    folder, result = alone
    other = replace(result, metrics={"mse": 0.0, "mae": 0.0})
    tried = {
        "hangs": (stand_in(ends=False), result),
        "fails": (stand_in(status=1), result),
        "differs": (stand_in(others=folder), other),
        "equals": (stand_in(others=folder), result),
    }

    verdicts = [
        try_fault(kind, SEED, 0, expected, tmp_path / name).verdict
        for name, (kind, expected) in tried.items()
    ]

    assert verdicts == [HANG, LOST, BAD, ""]


def test_two_results_differ_if_a_row_a_weight_or_a_metric_does(alone: tuple[Path, Result]) -> None:
    _, result = alone
    name, weight = next(iter(result.weights.items()))
    next_one = torch.nextafter(weight, torch.tensor(torch.inf))

    assert result.difference(result) == ""
    assert "rows" in result.difference(replace(result, rows=result.rows[:-1]))
    assert "metrics.csv" in result.difference(replace(result, rows=result.rows[::-1]))
    assert name in result.difference(replace(result, weights=result.weights | {name: next_one}))


def test_steps_that_were_taken_twice_are_counted(tmp_path: Path) -> None:
    lines = ["begins 0 1", "step 1 2", "step 2 3", "step 3 4", "begins 1 6", "step 2 7.5", "step 3"]
    (tmp_path / "0").write_text("\n".join(lines))
    account = Account(tmp_path)

    assert account.steps_repeated() == 2
    assert account.trains_again_at(5) == 7.5
    assert account.trains_again_at(8) is None
    assert account.next_step_at(5) == 7.5
    assert account.next_step_at(8) is None


OUTCOMES = [
    Outcome("killed", 0, "in a step", steps_repeated=3, notice_s=0.1, end_s=0.25),
    Outcome("killed", 1, "in a step", steps_repeated=5, notice_s=0.3, end_s=0.75),
    Outcome("flipped", 0, "1 of 2", LOST, "a good one was not taken"),
    Outcome("flipped", 1, "1 of 2", UNNAMED, "nobody said"),
]


def test_the_table_counts_by_kind() -> None:
    rows = table(OUTCOMES).rows

    assert rows == (
        ("killed", "2", "0", "0", "0", "4 (5)", "0.2 (0.3)", "0.5 (0.8)", "-"),
        ("flipped", "2", "1", "0", "0", "-", "-", "-", "-"),
        ("all", "4", "1", "0", "0", "-", "-", "-", "-"),
    )
    assert "1 ended without naming" in table(OUTCOMES).note


def test_the_page_shows_the_results_that_are_kept() -> None:
    page = PAGE.read_text()

    assert with_table(page, Report.read().markdown()) == page
