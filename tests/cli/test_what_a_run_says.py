"""What a run says while it goes on and when it ends, and what it measures itself against."""

import csv
import io
import signal
import sys
from pathlib import Path
from statistics import mean

import pytest
from rich.console import Console

from gru_parallel.assembly.data import build_data
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.data.series_data import SeriesData
from gru_parallel.report import RunResult, results_table
from gru_parallel.report.step_picture import draw_step
from tests.cli.in_process import (
    SMALL,
    Ended,
    RunCommand,
    checkpoint_of,
    look_at,
    rows_of,
    summary_of,
)

BATCHES_OF_16 = (*SMALL, "data.batch_size=16", "trainer.limit_train_batches=1")
"""51 test windows are then 4 batches, and an epoch is one."""

FOUR_EPOCHS = (
    *SMALL,
    "placement.device_map=[cpu:0,cpu:0,cpu:1,cpu:1]",
    "data.target=[x0,x2]",
    "trainer.max_epochs=4",
)
"""A run that several tests only look at."""


def epoch_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("Epoch ")]


def repeat_last_of(overrides: tuple[str, ...], n_windows: int) -> dict[str, float]:
    """Work out the errors of repeating the last value by hand."""
    data = build_data(read_config(compose_config(list(overrides))), SeriesData)
    batch = data.dataset("test").__getitems__(range(n_windows))
    # Windows are relative to their last row, so the forecast is zero.
    errors = batch["y"].double()
    return {"mse": float(errors.square().mean()), "mae": float(errors.abs().mean())}


@pytest.mark.parametrize(
    ("limit", "n_windows"),
    [("limit_test_batches=2", 32), ("fast_dev_run=3", 48)],
)
def test_baselines_are_measured_on_the_windows_of_a_limited_test(
    limit: str, n_windows: int, train_command: RunCommand
) -> None:
    ended = train_command(*BATCHES_OF_16, "trainer.max_epochs=1", f"trainer.{limit}")

    summary = summary_of(ended)
    expected = repeat_last_of(BATCHES_OF_16, n_windows)
    found = {name: summary["baselines"]["repeat_last"][name] for name in expected}
    assert found == pytest.approx(expected)
    assert found != repeat_last_of(BATCHES_OF_16, 51)
    assert (summary["test_windows"], summary["all_test_windows"]) == (n_windows, 51)
    assert f"Test on {n_windows} of 51 windows" in ended.out
    if limit.startswith("fast_dev_run"):
        # The first steps alone are no reason to warn.
        assert summary["warnings"] == []


def test_model_and_baselines_agree_where_the_model_repeats_the_last_value(
    train_command: RunCommand,
) -> None:
    limits = ["trainer.limit_test_batches=3", "trainer.limit_val_batches=1"]
    still = [
        "optimizer=sgd",
        "optimizer.lr=1e-12",
        "+callbacks.zero={_target_: tests.cli.zero.Zero}",
    ]
    ended = train_command(*BATCHES_OF_16, *still, "trainer.max_epochs=1", *limits)

    summary = summary_of(ended)
    assert summary["test_metrics"] == pytest.approx(summary["baselines"]["repeat_last"])
    assert (summary["validation_windows"], summary["test_windows"]) == (16, 48)
    (row,) = rows_of(ended, "train/loss_epoch")
    for name, error in summary["validation_baselines"]["repeat_last"].items():
        assert float(row[f"val/{name}"]) == pytest.approx(error)


def test_without_a_limit_all_windows_are_tested_and_forecasts_left_in_the_folder(
    train_command: RunCommand,
) -> None:
    ended = train_command(*BATCHES_OF_16, "trainer.max_epochs=1")

    summary = summary_of(ended)
    for name, error in repeat_last_of(BATCHES_OF_16, 51).items():
        assert summary["baselines"]["repeat_last"][name] == pytest.approx(error)
    assert summary["test_windows"] == summary["all_test_windows"] == 51
    assert summary["validation_windows"] == 25
    assert " of 51 windows" not in ended.out
    assert_shown(ended)


def test_a_limit_of_no_batches_is_a_run_without_a_test(train_command: RunCommand) -> None:
    # No baseline is wanted, so its season may be of any length.
    season = ["data.season_length=100000", "trainer.max_epochs=1"]
    ended = train_command(*SMALL, "trainer.limit_test_batches=0", *season, "logger=csv")

    assert (ended.status, ended.err) == (0, "")
    summary = summary_of(ended)
    assert (summary["ended"], summary["test_metrics"], summary["baselines"]) == (
        "completed",
        None,
        {},
    )
    assert (summary["test_windows"], summary["all_test_windows"]) == (0, 51)
    assert summary["validation_loss"] > 0
    assert "No test: trainer.limit_test_batches=0" in ended.out
    assert "repeat last value" not in ended.out
    assert (ended.folder / "timeline.png").is_file()
    assert not (ended.folder / "forecasts.csv").exists()


def test_a_run_on_all_data_says_that_nothing_was_validated_or_tested(
    train_command: RunCommand,
) -> None:
    ended = train_command(
        *SMALL, "data.split=[1,0,0]", "trainer.num_sanity_val_steps=2", "trainer.max_epochs=1"
    )

    assert (ended.status, ended.err) == (0, "")
    summary = summary_of(ended)
    assert (summary["test_metrics"], summary["validation_loss"]) == (None, None)
    assert (summary["test_windows"], summary["all_test_windows"]) == (0, 0)
    assert (summary["validation_windows"], summary["validation_baselines"]) == (0, {})
    assert summary["best_checkpoint"] is None
    assert Path(summary["last_checkpoint"]).is_file()
    assert "No validation: data.split=[1,0,0]; the last epoch counts as the best" in ended.out
    assert "No test: data.split=[1,0,0]" in ended.out
    assert not (ended.folder / "test_metrics.csv").exists()


def test_errors_of_each_step_and_target_are_beside_those_of_the_baselines(
    train_command: RunCommand,
) -> None:
    ended = look_at(train_command, *FOUR_EPOCHS)

    summary = summary_of(ended)
    of_all = {"model": summary["test_metrics"]} | summary["baselines"]
    with (ended.folder / "test_metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    horizon = len({row["step"] for row in rows})
    assert len(rows) == 2 * horizon * len(of_all)
    for method, metrics in of_all.items():
        for metric in ("mse", "mae"):
            found = [float(row[metric]) for row in rows if row["method"] == method]
            assert mean(found) == pytest.approx(metrics[metric], rel=1e-5)
    # A target's scale is the same for all methods and steps.
    for target in ("x0", "x2"):
        of_target = [row for row in rows if row["target"] == target]
        scales = [float(row["mae_in_units"]) / float(row["mae"]) for row in of_target]
        squares = [float(row["mse_in_units"]) / float(row["mse"]) for row in of_target]
        assert scales == pytest.approx([scales[0]] * len(scales))
        assert squares == pytest.approx([scales[0] ** 2] * len(scales))


def test_the_validation_is_recorded_and_the_best_epoch_named(train_command: RunCommand) -> None:
    # After the first epoch it gets worse, and no step has a row.
    settings = ["optimizer=sgd", "optimizer.lr=5", "trainer.log_every_n_steps=10"]
    settings += ["trainer.limit_test_batches=0"]
    ended = train_command(*SMALL, *settings, "trainer.max_epochs=3")

    assert rows_of(ended) == []
    rows = rows_of(ended, "train/loss_epoch")
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "3"), ("1", "6"), ("2", "9")]
    losses = [float(row["val/loss"]) for row in rows]
    summary = summary_of(ended)
    assert summary["validation_loss"] == min(losses)
    assert (
        summary["best_epoch"] == losses.index(min(losses)) == checkpoint_of(ended, "best")["epoch"]
    )
    assert f"Best epoch: {summary['best_epoch']}, val/loss {min(losses):.4g}" in ended.out


def test_where_output_is_no_terminal_each_epoch_is_a_line(train_command: RunCommand) -> None:
    ended = train_command(
        *SMALL, "trainer.enable_progress_bar=true", "trainer.limit_test_batches=0"
    )

    rows = rows_of(ended, "train/loss_epoch")
    lines = epoch_lines(ended.out)
    assert len(lines) == 2
    for epoch, (line, row) in enumerate(zip(lines, rows, strict=True)):
        losses = [f"{float(row[name]):.4g}" for name in ("train/loss_epoch", "val/loss")]
        assert line.startswith(
            f"Epoch {epoch} ({epoch + 1} of 2): train {losses[0]}, val {losses[1]}"
        )
        assert ", lr 0.001, " in line
        assert line.endswith(" s")
    assert "━━" not in ended.out
    assert ended.err == ""


@pytest.mark.parametrize("bar", ["true", "false"])
def test_on_a_terminal_a_bar_or_lines_tell_of_the_epochs(
    bar: str, train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    ended = train_command(*SMALL, f"trainer.enable_progress_bar={bar}", "trainer.max_epochs=1")

    assert ("val/loss:" in ended.out) == (bar == "true")
    assert len(epoch_lines(ended.out)) == (0 if bar == "true" else 1)
    assert "repeat last value" in ended.out


def test_a_validation_within_an_epoch_is_a_line_of_its_own(train_command: RunCommand) -> None:
    ended = train_command(
        *SMALL,
        "trainer.val_check_interval=2",
        "trainer.max_epochs=1",
        "trainer.limit_test_batches=0",
    )

    moments = [line.split(":")[0] for line in epoch_lines(ended.out)]
    assert moments == ["Epoch 0 (1 of 1), step 2", "Epoch 0 (1 of 1)"]


def test_early_stopping_says_that_it_stopped_and_why(train_command: RunCommand) -> None:
    options = ["callbacks=early_stopping", "callbacks.early_stopping.patience=2"]
    options += ["+callbacks.early_stopping.min_delta=100", "trainer.limit_train_batches=1"]
    ended = train_command(*SMALL, *options, "trainer.max_epochs=20")

    (said,) = [line for line in ended.out.splitlines() if line.startswith("Stopped early")]
    assert said.startswith("Stopped early in epoch 2: Monitored metric val/loss did not improve")
    summary = summary_of(ended)
    assert (summary["ended"], summary["reason"]) == ("stopped early", said)
    assert summary["test_metrics"]["mse"] > 0
    assert (summary["epochs"], len(rows_of(ended))) == (3, 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGINT", "Ctrl-C"),
        pytest.param("SIGTERM", "SIGTERM", marks=pytest.mark.long),
        ("SIGUSR1", "SIGUSR1"),
    ],
)
def test_an_interrupted_run_leaves_a_summary_that_says_so(
    name: str, said: str, train_command: RunCommand
) -> None:
    send = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, batch: 4, name: {name}}}"

    ended = train_command(*SMALL, send)

    assert ended.status == 128 + signal.Signals[name]
    summary = summary_of(ended)
    assert summary["ended"] == "interrupted"
    checkpoint = ended.folder / "checkpoints" / "last.ckpt"
    assert summary["reason"] == (
        f"Stopped by {said} after step 5; checkpoint written: {checkpoint}"
    )
    assert (summary["test_metrics"], summary["epochs"], summary["steps"]) == (None, 2, 5)
    assert summary["best_epoch"] == 0
    assert summary["step_ms"] > 0
    assert RunResult.read(ended.folder).measured is not None
    assert "Promise and outcome" in ended.out
    assert (ended.folder / "timeline.png").exists()


@pytest.mark.parametrize(
    ("moment", "name", "reason"),
    [
        (
            "batch: 21, hook: on_test_batch_start",
            "SIGINT",
            "Stopped by Ctrl-C in the test; the training is complete.",
        ),
        (
            "batch: -1, hook: on_validation_batch_start",
            "SIGTERM",
            "Stopped by SIGTERM before the first step.",
        ),
        ("batch: 1, times: 2", "SIGINT", "Stopped by Ctrl-C."),
        ("batch: -1, hook: on_validation_batch_start", "SIGINT", "Stopped by Ctrl-C."),
    ],
    ids=["in the test", "in the sanity check", "twice", "before it is taken over"],
)
@pytest.mark.usefixtures("interrupts_raise")
def test_a_run_interrupted_at_another_moment_leaves_one_too(
    moment: str, name: str, reason: str, train_command: RunCommand
) -> None:
    send = f"+callbacks.mine={{_target_: tests.interrupts.SendSignal, {moment}, name: {name}}}"

    ended = train_command(*SMALL, send, "data.batch_size=16", "trainer.num_sanity_val_steps=2")

    assert ended.status == 128 + signal.Signals[name]
    summary = summary_of(ended)
    assert (summary["ended"], summary["reason"]) == ("interrupted", reason)
    assert summary["test_metrics"] is None
    assert ended.err.splitlines()[0] == f"gru_parallel: {reason}"
    assert len(ended.err.splitlines()) == (2 if "complete" in reason else 1)


def test_a_summary_is_there_only_when_the_run_in_its_folder_has_ended(
    train_command: RunCommand,
) -> None:
    first = train_command(*SMALL, "trainer.max_epochs=1")
    assert (summary_of(first)["ended"], summary_of(first)["reason"]) == ("completed", None)
    checkpoint = first.folder / "checkpoints" / "last.ckpt"
    fail = "+callbacks.harm={_target_: tests.cli.harm.Fail, rank: 0, batch: 4}"

    with pytest.raises(ValueError, match="the batch is odd"):
        train_command(*SMALL, f"ckpt_path={checkpoint}", fail)

    assert not (first.folder / "summary.json").exists()


def test_picture_and_summary_tell_of_the_same_steps(train_command: RunCommand) -> None:
    ended = look_at(train_command, *FOUR_EPOCHS)

    summary = summary_of(ended)
    # All of them but the first three are kept, so the median one is the step that is shown.
    assert summary["timed_steps"] == 9
    assert summary["timeline_step_ms"] == summary["step_ms"]
    assert 3 < summary["timeline_step"] <= 12
    measured = RunResult.read(ended.folder).measured
    assert measured is not None
    assert measured.step_ms <= summary["timeline_step_ms"]
    assert measured.bubble == pytest.approx(summary["measured_bubble"], abs=1e-3)


def test_a_report_can_be_made_from_the_folder_of_a_run_alone(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "trainer.max_epochs=1", draws=True)

    result = RunResult.read(ended.folder)

    draw_step(result, ended.folder / "again.png")
    picture = (ended.folder / "timeline.png").read_bytes()
    assert (ended.folder / "again.png").read_bytes() == picture
    with Console(record=True, file=io.StringIO(), width=80) as console:
        console.print(results_table(result.summary))
    assert console.export_text() in ended.out
    assert result.predicted.bubble == pytest.approx(result.summary.predicted_bubble, abs=1e-3)
    assert len(result.rows) == 3 + 1
    assert [row["val/loss"] for row in result.rows if "val/loss" in row][-1] > 0


def test_promise_and_outcome_stand_side_by_side(train_command: RunCommand) -> None:
    ended = look_at(train_command, *FOUR_EPOCHS)

    assert "Promise and outcome" in ended.out
    summary = summary_of(ended)
    result = RunResult.read(ended.folder)
    assert result.measured is not None
    assert [(stage["device"], stage["layers"]) for stage in summary["stages"]] == [
        ("cpu:0", "0-1"),
        ("cpu:1", "2-3"),
    ]
    for number, stage in enumerate(summary["stages"]):
        assert stage["measured_ms"] == pytest.approx(result.measured.busy_ms(number), abs=1e-3)
        assert stage["predicted_ms"] == pytest.approx(result.predicted.busy_ms(number), abs=1e-3)
        assert stage["predicted_memory_bytes"] > stage["predicted_activation_bytes"] > 0
        # A CPU's memory does not tell stages apart.
        assert stage["measured_memory_bytes"] is None
    assert summary["peak_rss_growth_bytes"] >= 0
    assert summary["predicted_step_ms"] > 0
    # Layers this small take far longer than their arithmetic.
    for warning in summary["warnings"]:
        assert f"Warning: {warning}" in ended.out
    assert {"torch", "lightning", "python", "platform", "cores"} <= summary["environment"].keys()


def assert_shown(ended: Ended) -> None:
    """Hold that the forecasts in the folder go over the test part."""
    forecasts = RunResult.read(ended.folder).forecasts
    # 52 rows make 51 windows of 2 steps; every second one is shown, with 4 targets.
    assert len(forecasts) == 26 * 2 * 4
    assert [forecast.ds for forecast in forecasts[::4]] == [str(row) for row in range(208, 260)]
    errors = [(forecast.y - forecast.y_hat) ** 2 for forecast in forecasts]
    spread = [forecast.y**2 for forecast in forecasts]
    assert 0 < sum(errors) < sum(spread)
