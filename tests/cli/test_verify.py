"""The verify command: green as it stands, red when a promise is broken, honest in its numbers."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.app import verify
from gru_parallel.dropin.borrowed_stack import BorrowedStack
from gru_parallel.model import Block, Start
from gru_parallel.model.hidden import given
from gru_parallel.report.units import format_difference
from gru_parallel.schedule import SCHEDULES, Cell
from gru_parallel.stage import block_section
from gru_parallel.stage.block_section import BlockSection
from gru_parallel.stage.stage_pass import StagePass
from gru_parallel.verification import cuts
from gru_parallel.verification.cuts import Cut
from gru_parallel.verification.difference import Differences, largest_of_each
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import Answer
from tests.cli.in_process import RunCommand, assert_refused
from tests.verification.no_cut import make_no_cut

SMALL = ("num_layers=2", "hidden_size=3", "lengths=[6,4]", "batch_size=3")


@pytest.fixture
def one_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every cut made into ragged cells only, which spares most of the time."""
    monkeypatch.setattr(cuts, "GRIDS", ((2, 5),))


@pytest.fixture
def one_cut(one_grid: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has those cells in one order, too, where every order would say the same."""
    monkeypatch.setattr(cuts, "SCHEDULES", {"one_f_one_b": SCHEDULES["one_f_one_b"]})


@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("measures", [False, pytest.param(True, marks=pytest.mark.long)])
def test_the_defaults_keep_every_promise_in_80_columns_and_lines(
    measures: bool, monkeypatch: pytest.MonkeyPatch, verify_command: RunCommand
) -> None:
    if not measures:
        make_no_cut(monkeypatch, Differences(0.0, *[1e-16] * 4))

    ended = verify_command()

    assert ended.status == 0, ended.out
    lines = ended.out.splitlines()
    assert lines[-1].startswith("All promises kept: ")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 80
    assert "NO" not in ended.out
    assert "…" not in ended.out
    assert ended.err == ""
    assert list(ended.folder.iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((), marks=pytest.mark.long),
        ("dtype=float32", "lengths=[5]"),
        pytest.param(("num_layers=3", "lengths=[1,3]"), marks=pytest.mark.long),
    ],
)
def test_every_promise_is_kept_with_other_settings(
    settings: tuple[str, ...], one_grid: None, verify_command: RunCommand
) -> None:
    ended = verify_command(*SMALL, *settings)

    assert ended.status == 0, ended.out


def test_the_numbers_shown_are_the_measured_ones(
    monkeypatch: pytest.MonkeyPatch, verify_command: RunCommand
) -> None:
    monkeypatch.setattr(cuts, "GRIDS", ((1, 4), (2, 5)))
    monkeypatch.setattr(cuts, "SCHEDULES", {name: SCHEDULES[name] for name in ("naive", "gpipe")})
    measured: list[Cut | Answer] = []
    for name in ("measure_cuts", "measure_starts"):
        monkeypatch.setattr(verify, name, noted(getattr(verify, name), measured))

    lines = [line.split() for line in verify_command(*SMALL, "lengths=[3]").out.splitlines()]

    def of(schedule: str, grid: tuple[int, int]) -> list[str]:
        found = (
            each.differences
            for each in measured
            if isinstance(each, Cut)
            and each.schedule == schedule
            and (each.n_micro_batches, each.n_chunks) == grid
        )
        return list(map(format_difference, astuple(largest_of_each(found))))

    assert ["naive", "2", "x", "5", "cells", *of("naive", (2, 5)), "yes"] in lines
    assert ["gpipe", "1", "x", "4", "cells", *of("gpipe", (1, 4)), "yes"] in lines
    answers = [each for each in measured if isinstance(each, Answer)]
    assert answers
    for answer in answers:
        shown = map(format_difference, (answer.output, answer.gradients))
        should = "equal" if answer.should_equal else "differ"
        row = f"{answer.start} {answer.against}".split()
        assert [*row, *shown, should, "yes"] in lines


def noted(
    measure: Callable[[Settings], Iterator[Any]], into: list[Any]
) -> Callable[[Settings], Iterator[Any]]:
    """Measure, and keep what is found."""

    def measure_and_note(settings: Settings) -> Iterator[Any]:
        for found in measure(settings):
            into.append(found)
            yield found

    return measure_and_note


def forget_between_chunks(patch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = BlockSection._run

    def run(self: BlockSection, cell: Cell, x: Tensor, h_in: list[Tensor], *rest: Any) -> Any:
        if cell.chunk > 0:
            h_in[:] = [torch.zeros_like(h).requires_grad_() for h in h_in]
        return original(self, cell, x, h_in, *rest)

    patch.setattr(BlockSection, "_run", run)


def forget_between_batches(patch: pytest.MonkeyPatch) -> None:
    def commit(self: StagePass) -> None:
        del self

    patch.setattr(StagePass, "commit", commit)


def give_h_0_to_blocks_that_want_zeros(patch: pytest.MonkeyPatch) -> None:
    def entering(block: Block, batch_size: int, start: Start, _: Tensor | None) -> Tensor:
        return given(block, batch_size, start.h_0)

    patch.setattr(block_section, "entering", entering)


def lose_the_gradient_of_h_n(patch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = BorrowedStack.backward
    patch.setattr(
        BorrowedStack, "backward", lambda self, half, dy, _: original(self, half, dy, None)
    )


def give_what_is_no_number(patch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = StagePass.h_n
    patch.setattr(StagePass, "h_n", lambda self: original(self) * torch.nan)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (forget_between_chunks, "Worst cut: "),
        (forget_between_batches, " cuts, 1 of 12 answers about h_0. First answer: carry should"),
        (give_h_0_to_blocks_that_want_zeros, "answer: zeros should equal nn.GRU with no h_0."),
        (lose_the_gradient_of_h_n, "Worst cut: "),
        (give_what_is_no_number, "off by inf"),
    ],
)
def test_a_broken_promise_ends_it_with_status_1_and_says_which(
    break_it: Callable[[pytest.MonkeyPatch], None],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    one_cut: None,
    verify_command: RunCommand,
) -> None:
    break_it(monkeypatch)

    ended = verify_command(*SMALL, "lengths=[3]")

    assert ended.status == 1
    assert "NO" in ended.out.split()
    end = " ".join(ended.out[ended.out.index("BROKEN: ") :].split())
    assert says in end


def test_what_should_differ_and_does_not_is_a_broken_promise(
    one_cut: None, monkeypatch: pytest.MonkeyPatch, verify_command: RunCommand
) -> None:
    give_h_0_to_blocks_that_want_zeros(monkeypatch)

    rows = map(str.split, verify_command(*SMALL, "lengths=[3]").out.splitlines())

    kept = [row[-1] for row in rows if "differ" in row]
    # Two nn.GRUs as they ever were; blocks that now begin with h_0, all of them.
    assert kept == ["yes", "yes", "NO", "NO"]


BAD = {
    "a mistyped key": ("num_layer=3", ["num_layer is not a setting", "did you mean num_layers?"]),
    "a key of training": ("model.num_layers=3", ["did you mean num_layers?"]),
    "an unknown key": ("colour=red", ["colour is not a setting", "hidden_size"]),
    "a reference to nothing": ("seed=${seeds}", ["seed=${seeds}", "leads to no value"]),
    "a flag": ("--num_layers=3", ["--num_layers=3 is not a flag", ": num_layers=3"]),
    "a setting taken away": ("~seed", ["~seed", "seed=..."]),
    "one layer": ("num_layers=1", ["num_layers=1 cannot be cut", "2 or more"]),
    "half a layer": ("num_layers=2.5", ["num_layers=2.5", "whole number"]),
    "no batch": ("batch_size=0", ["batch_size=0"]),
    "lengths without brackets": ("lengths=12,7", ["write lengths=[12,7]"]),
    "a bare length": ("lengths=12", ["lengths=12", "whole numbers in brackets"]),
    "an empty sequence": ("lengths=[3,0]", ["lengths=[3,0]"]),
    "an unknown type": ("dtype=half", ["dtype=half", "float64, float32"]),
    "an unknown device": ("devices=[cuda:77]", ["names cuda:77", "cpu:0"]),
    "a device twice": ("devices=[cpu:0,cpu:0]", ["names cpu:0 twice"]),
    "no device": ("devices=[]", ["devices=[]"]),
    "a negative seed": ("seed=-1", ["seed=-1"]),
    "no override": ("num_layers", ["cannot be read"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_setting_that_cannot_work_is_refused(name: str, verify_command: RunCommand) -> None:
    override, fragments = BAD[name]

    ended = verify_command(override)

    assert_refused(ended, fragments)


def test_devices_are_used_in_their_order(one_cut: None, verify_command: RunCommand) -> None:
    ended = verify_command(*SMALL, "lengths=[3]", "devices=[cpu:3,cpu:1]")

    assert ended.status == 0, ended.out
    assert "cpu:3, cpu:1" in ended.out
    assert "cpu:0" not in ended.out


@pytest.mark.long
def test_verifying_as_a_process_of_its_own(
    command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    result = command("verify", [*SMALL, "lengths=[3]"])

    assert result.returncode == 0, result.stdout
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1].startswith("All promises kept: ")
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_setting_and_its_default(verify_command: RunCommand) -> None:
    ended = verify_command("--help")

    assert ended.status == 0
    assert ended.out.startswith("gru-parallel verify [setting=value ...]")
    defaults = Settings()
    for name in ("num_layers", "hidden_size", "batch_size", "dtype", "seed"):
        assert f"\n{name}={getattr(defaults, name)} " in ended.out
    assert "\nlengths=[12,7,3] " in ended.out
    assert "\ndevices=null " in ended.out
