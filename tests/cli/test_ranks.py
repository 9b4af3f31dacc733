"""The training command over ranks: the run of threads, each error said once, and no rank left."""

from __future__ import annotations

import csv
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gru_parallel.app import together
from gru_parallel.errors import DataWarning
from gru_parallel.report.forecasts_file import read_forecasts
from tests.cli.in_process import SMALL, RunCommand, summary_of
from tests.cli.in_process import Ended as EndedAlone
from tests.cli.rank_commands import (
    BUSY,
    DIVERGING,
    KILL,
    LIMITED,
    LONG,
    LONG_TIMEOUT_S,
    N_RANKS,
    RESTARTED,
    TIMEOUT_S,
    WORLDS,
    Ended,
    Ends,
    run_again_after_a_death,
    run_worlds,
)
from tests.rank_processes import ROOT, free_port

TAG = "GRU_PARALLEL_TEST"
LATEST_END_S = 10.0
TORCHRUN_ENDS_WITHIN_S = 100.0
THREADS = (*SMALL, "placement.device_map=[0,0,1,1]")

REFUSED = {
    "too many ranks": "engine=processes needs 1 ranks: engine.data_parallel=1 times one for each of"
    " the plan's 1 devices; 2 were started.",
    "another config": "All ranks must have the same model.hidden_size; rank 0: 4; rank 1: 8.",
    "another version": "All ranks must have the same gru_parallel; rank 0: 1; rank 1: 2.",
    "a callback for all weights": "The callback EMAWeightAveraging looks at all weights at once,",
    "other data": "All ranks must have the same data; rank 0: 200 rows in 1 series, SHA-256 ",
    "a file that one rank lacks": "data.path=series.csv does not exist (looked in ",
}


def run_torchrun(folder: Path, *flags: str) -> EndedAlone:
    """Train with a rank that is killed in the first attempt."""
    command = [sys.executable, "-m", "torch.distributed.run", *flags, "-m", "gru_parallel.train"]
    command += [*THREADS, "engine=processes", *RESTARTED, KILL, f"hydra.run.dir={folder}"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", TAG: str(folder)},
        capture_output=True,
        text=True,
        timeout=TORCHRUN_ENDS_WITHIN_S,
        check=False,
    )
    return EndedAlone(ended.returncode, ended.stdout, ended.stderr, folder)


@dataclass(frozen=True)
class Worlds:
    """Worlds that have ended: the folder in which each has one of its name, and how."""

    folder: Path
    ends: Ends


@dataclass(frozen=True)
class Running:
    """What runs at once, because ranks wait for each other half of their time."""

    worlds: Future[Ends]
    folder_of_worlds: Path
    restarted: Future[Sequence[Sequence[Ended]]]
    folder_of_restarted: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder, of_restarted = (tmp_path_factory.mktemp(name) for name in ("worlds", "restarted"))
    with ThreadPoolExecutor(2) as pool:
        restarted = pool.submit(run_again_after_a_death, of_restarted)
        worlds = pool.submit(run_worlds, [name for name in WORLDS if name not in LONG], folder)
        yield Running(worlds, folder, restarted, of_restarted)


@pytest.fixture
def worlds(running: Running) -> Worlds:
    return Worlds(running.folder_of_worlds, running.worlds.result())


@pytest.fixture(scope="module")
def long_worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    folder = tmp_path_factory.mktemp("long_worlds")
    return Worlds(folder, run_worlds(LONG, folder))


def rows_without_speed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    return [{name: row[name] for name in row if name != "samples/s"} for row in rows]


def without(summary: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name not in names}


def names_in(folder: Path) -> set[str]:
    # Checkpoints of ranks are folders.
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(name) for name in names if not any(p.suffix == ".ckpt" for p in name.parents)}


def test_a_run_over_ranks_is_that_of_threads_and_leaves_what_that_does_in_one_folder(
    worlds: Worlds, train_command: RunCommand
) -> None:
    ended, other = worlds.ends["busy"]
    threads = train_command(*THREADS, *BUSY)

    assert (ended.status, other.status) == (0, 0), other.err
    folder = worlds.folder / "busy" / "run"
    for name in ("metrics.csv", "csv/metrics.csv"):
        assert rows_without_speed(folder / name) == rows_without_speed(threads.folder / name)
    forecasts = (folder / "forecasts.csv").read_text()
    assert forecasts == (threads.folder / "forecasts.csv").read_text()
    assert forecasts.count("\n") > 1
    assert (folder / "plan.json").read_text() == (threads.folder / "plan.json").read_text()
    summary, of_threads = summary_of(EndedAlone(0, "", "", folder)), summary_of(threads)
    measured = {"step_ms", "samples_per_s", "timeline_step", "timeline_step_ms", "measured_bubble"}
    measured |= {"stages", "peak_rss_growth_bytes", "warnings"}
    # Processes hand over in another time than threads.
    planned = {"predicted_step_ms", "predicted_bubble"}
    own = measured | planned | {"best_checkpoint", "last_checkpoint"}
    assert without(summary, own) == without(of_threads, own)
    assert names_in(folder) == names_in(threads.folder)
    for rank in range(N_RANKS):
        assert names_in(worlds.folder / "busy" / str(rank)) == {"out", "err"}


def test_one_rank_shows_the_tables_and_tells_of_each_epoch(worlds: Worlds) -> None:
    first, other = worlds.ends["busy"]

    for text in ("cpu:1", "predicted: step", "repeat last value", "Promise and outcome"):
        assert text in first.out
    told = [line for line in first.out.splitlines() if line.startswith("Epoch ")]
    assert [line.split(":")[0] for line in told] == ["Epoch 0 (1 of 2)", "Epoch 1 (2 of 2)"]
    assert first.out.count("Folder of the run: ") == 1
    assert first.err == ""
    assert (other.out, other.err) == ("", "")


def test_replicas_train_and_measure_what_one_device_does(
    worlds: Worlds, train_command: RunCommand
) -> None:
    alone = train_command(*SMALL, *LIMITED, "placement.device_map=[0,0,0,0]")
    folder = worlds.folder / "replicas" / "run"

    rows = rows_without_speed(folder / "metrics.csv")
    expected = rows_without_speed(alone.folder / "metrics.csv")
    assert [(row["epoch"], row["step"], row["lr"]) for row in rows] == [
        (row["epoch"], row["step"], row["lr"]) for row in expected
    ]
    for name in ("train/loss", "train/loss_epoch", "val/loss"):
        assert numbers(rows, name) == pytest.approx(numbers(expected, name), rel=1e-5)
    summary, expected_summary = summary_of(EndedAlone(0, "", "", folder)), summary_of(alone)
    metrics = summary["test_metrics"]
    assert metrics == pytest.approx(expected_summary["test_metrics"], rel=1e-5)
    for name in ("baselines", "test_windows", "all_test_windows", "best_epoch"):
        assert summary[name] == expected_summary[name]
    assert summary["test_windows"] == 40
    errors, alone_s = (list(step_errors(each)) for each in (folder, alone.folder))
    assert errors == pytest.approx(alone_s, rel=1e-4)
    # Each replica had some of the windows.
    forecasts, alone_s = (read_forecasts(each / "forecasts.csv") for each in (folder, alone.folder))
    assert [f._replace(y_hat=0.0) for f in forecasts] == [f._replace(y_hat=0.0) for f in alone_s]
    assert [f.y_hat for f in forecasts] == pytest.approx([f.y_hat for f in alone_s], rel=1e-3)


def step_errors(folder: Path) -> Iterator[float]:
    with (folder / "test_metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield from (float(row["mse"]), float(row["mae_in_units"]))


def numbers(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row[name]]


def test_ranks_that_are_interrupted_leave_one_summary_that_says_so(worlds: Worlds) -> None:
    first, interrupted = worlds.ends["interrupted"]

    assert (first.status, interrupted.status) == (143, 143)
    summary = summary_of(EndedAlone(0, "", "", worlds.folder / "interrupted" / "run"))
    assert summary["ended"] == "interrupted"
    assert summary["reason"].startswith("Stopped by SIGTERM after step 5; checkpoint written: ")
    assert first.err.startswith("gru_parallel: Stopped by SIGTERM after step 5;")
    assert (interrupted.out, interrupted.err) == ("", "")


def test_the_first_rank_tells_of_the_pace_of_all_stages(worlds: Worlds) -> None:
    first, other = worlds.ends["interrupted"]

    (line,) = [line for line in first.out.splitlines() if line.startswith("Step 4: ")]
    shares = re.search(r"; stages busy ([\d.]+) %, ([\d.]+) %; peak memory of their", line)
    assert shares is not None
    assert "Step 4" not in other.out
    with (worlds.folder / "interrupted" / "run" / "metrics.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["pace/busy_1"])
    assert [f"{100 * float(row[f'pace/busy_{stage}']):.1f}" for stage in range(2)] == [
        *shares.groups()
    ]
    assert all(float(row[f"pace/peak_bytes_{stage}"]) > 2**26 for stage in range(2))


def check_refused(name: str, worlds: Worlds) -> None:
    ended = worlds.ends[name]

    assert [one.status for one in ended] == [2, 2]
    (said,) = [line for one in ended for line in one.err.splitlines()]
    assert said.startswith(f"gru_parallel: {REFUSED[name]}")
    assert [one.out for one in ended] == ["", ""]
    assert not (worlds.folder / name / "run").exists()


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in LONG])
def test_what_cannot_work_is_refused_by_all_ranks_and_said_once(name: str, worlds: Worlds) -> None:
    check_refused(name, worlds)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in REFUSED if name in LONG])
def test_what_else_cannot_work_is_refused_by_all_ranks_and_said_once(
    name: str, long_worlds: Worlds
) -> None:
    check_refused(name, long_worlds)


@pytest.mark.long
def test_a_logger_that_cannot_begin_ends_all_ranks_and_is_said_once(long_worlds: Worlds) -> None:
    ended = long_worlds.ends["a logger without a server"]

    assert [one.status for one in ended] == [2, 2]
    (said,) = [line for one in ended for line in one.err.splitlines()]
    assert said.startswith("gru_parallel: logger: NoServer cannot begin (ConnectionError: no route")


@pytest.mark.long
def test_a_loss_that_is_not_finite_ends_all_ranks_as_it_ends_threads(
    long_worlds: Worlds, train_command: RunCommand
) -> None:
    first, other = long_worlds.ends["diverging"]
    threads = train_command(*THREADS, *DIVERGING)

    assert threads.status != 0
    assert (first.status, other.status) == (threads.status, threads.status)
    assert (first.err, other.err) == (threads.err, "")


@pytest.mark.long
def test_a_rank_that_raises_ends_the_other_and_is_named_with_its_action(
    long_worlds: Worlds,
) -> None:
    other, raising = long_worlds.ends["raising"]

    assert (other.status, raising.status) == (1, 1)
    assert raising.err.rstrip().endswith("ValueError: the batch is odd")
    assert re.fullmatch(
        r"gru_parallel: rank 0: rank 1 failed while stage 1 on cpu:1 .+ micro-batch 0, chunk \d:"
        r" ValueError: the batch is odd; rank 0 was waiting: .+\n",
        other.err,
    )


def check_killed(worlds: Worlds) -> None:
    other, killed = worlds.ends["killed"]

    assert (other.status, killed.status) == (1, -9)
    assert other.after_s < LATEST_END_S
    assert re.fullmatch(
        r"gru_parallel: rank 0: rank 1 ended without a report \(killed, or its machine is gone\);"
        r" it was last seen while .+; rank 0 was (waiting|busy): .+\n",
        other.err,
    )


def check_first_killed(worlds: Worlds) -> None:
    killed, other = worlds.ends["first killed"]

    assert (killed.status, other.status) == (-9, 1)
    assert other.after_s < LATEST_END_S
    assert re.search(
        r"gru_parallel: rank 1: rank 0 ended without a report.*; rank 1 was (waiting|busy): .+\n$",
        other.err,
    )


STALLED = (
    r"(gru_parallel: No progress for [\d.]+ s: rank 1 does not respond, last seen while .+; rank 0"
    r" was waiting: .+\.\n)+"
)


def check_stopped(worlds: Worlds, name: str, timeout_s: float, before: str = "") -> None:
    other, _ = worlds.ends[name]

    assert other.status == 1
    assert other.after_s < timeout_s + LATEST_END_S
    assert re.fullmatch(
        rf"{before}gru_parallel: rank 0: rank 1 has not answered for engine\.timeout_s="
        rf"{timeout_s:g} s; it was last seen while .+; rank 0 was waiting: .+\n",
        other.err,
    )


def test_a_rank_killed_at_a_random_moment_ends_the_other_and_is_named(worlds: Worlds) -> None:
    check_killed(worlds)


@pytest.mark.long
def test_the_first_rank_killed_at_a_random_moment_ends_the_other_and_is_named(
    long_worlds: Worlds,
) -> None:
    check_first_killed(long_worlds)


@pytest.mark.long
def test_a_rank_that_stops_answering_ends_the_other_and_is_named(long_worlds: Worlds) -> None:
    # Before it ends, the run has said that it waits, and for whom.
    check_stopped(long_worlds, "stopped", LONG_TIMEOUT_S, STALLED)


def test_a_rank_that_is_stopped_while_metrics_are_added_up_is_named(worlds: Worlds) -> None:
    check_stopped(worlds, "stopped in a validation", TIMEOUT_S)

    other, _ = worlds.ends["stopped in a validation"]
    assert other.err.endswith("rank 0 was waiting: the tensors of all ranks\n")


def test_a_restarted_run_is_the_one_that_nothing_disturbed(
    running: Running, train_command: RunCommand
) -> None:
    (other, killed), again = running.restarted.result()
    folder = running.folder_of_restarted / "run"

    assert (other.status, killed.status) == (1, -9)
    assert "rank 0: rank 1 ended without a report" in other.err
    assert [one.status for one in again] == [0, 0], again[0].err
    check_restarted(EndedAlone(0, "", "", folder), train_command)


def check_restarted(restarted: EndedAlone, train_command: RunCommand) -> None:
    undisturbed = train_command(*THREADS, *RESTARTED)

    assert restarted.status == 0, restarted.err
    # It would come to the same from the beginning.
    config = OmegaConf.load(restarted.folder / "config.yaml")
    assert config.ckpt_path == "last"
    rows = rows_without_speed(restarted.folder / "metrics.csv")
    assert rows == rows_without_speed(undisturbed.folder / "metrics.csv")
    summary, expected = summary_of(restarted), summary_of(undisturbed)
    for name in ("ended", "test_metrics", "validation_loss", "best_epoch", "epochs", "steps"):
        assert summary[name] == expected[name], name


@pytest.mark.long
def test_torchrun_starts_a_run_again_and_leaves_no_process(
    tmp_path: Path, train_command: RunCommand
) -> None:
    flags = ["--nproc-per-node", str(N_RANKS), "--max-restarts", "1"]
    flags += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    folder = tmp_path / "torchrun"

    restarted = run_torchrun(folder, *flags)

    check_restarted(restarted, train_command)
    assert "rank 0: rank 1 ended without a report" in restarted.err
    tag = f"{TAG}={folder}".encode()
    assert [path for path in Path("/proc").glob("[0-9]*/environ") if has(path, tag)] == []


@pytest.mark.long
def test_a_run_on_two_machines_goes_on_though_each_counts_attempts_for_itself(
    tmp_path: Path, train_command: RunCommand
) -> None:
    flags = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "run"]
    flags += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]
    flags += ["--local-addr", "127.0.0.1"]
    with ThreadPoolExecutor(2) as pool:
        machines = [pool.submit(run_torchrun, tmp_path / "machines", *flags) for _ in range(2)]

    first, other = (machine.result() for machine in machines)
    check_restarted(first, train_command)
    assert other.status == 0, other.err


def has(path: Path, text: bytes) -> bool:
    try:
        return text in path.read_bytes()
    except OSError:
        # Another user's, or one that has ended.
        return False


def be_rank(monkeypatch: pytest.MonkeyPatch, rank: int = 0, port: int = 29500) -> None:
    """Make this process one of two ranks, to those that read its environment."""
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": N_RANKS, "MASTER_PORT": port}
    for name, value in (variables | {"MASTER_ADDR": "127.0.0.1"}).items():
        monkeypatch.setenv(name, str(value))


def assert_refused(ended: EndedAlone, said: str) -> None:
    assert ended.status == 2
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith(f"gru_parallel: {said}")
    assert list(ended.folder.parent.iterdir()) == []


def test_processes_without_a_launcher_are_refused(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "engine=processes")

    assert_refused(ended, "engine=processes has one process per stage, which torchrun starts: ")


@pytest.mark.parametrize(
    ("arguments", "flags", "said"),
    [
        (
            [],
            (),
            "engine=threads runs in one process, but 2 were started; add engine=processes,",
        ),
        (["seed=1,2"], ("-m",), "A sweep is many runs, and 2 processes were started for one;"),
        (
            ["engine=processes", "model.hiden_size=8"],
            (),
            "model.hiden_size is not a setting; did you",
        ),
    ],
    ids=["threads", "a sweep", "a mistyped key"],
)
def test_what_no_rank_needs_another_for_is_refused_and_said_once(
    arguments: list[str],
    flags: tuple[str, ...],
    said: str,
    train_command: RunCommand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    be_rank(monkeypatch)
    first = train_command(*SMALL, *arguments, flags=flags)
    be_rank(monkeypatch, 1)
    other = train_command(*SMALL, *arguments, flags=flags)

    assert_refused(first, said)
    assert (other.status, other.out, other.err) == (2, "", "")


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
@pytest.mark.parametrize(("rank", "n_lines"), [(0, 1), (1, 0)])
def test_one_rank_says_what_is_to_be_known_of_the_data(
    rank: int, n_lines: int, train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_as_rank(*_: object) -> int:
        warnings.warn("data.path=a.csv: 3 rows are missing.", DataWarning, stacklevel=2)
        return 0

    monkeypatch.setattr(together, "run_as_rank", run_as_rank)
    be_rank(monkeypatch, rank)

    ended = train_command(*SMALL, "engine=processes")

    assert ended.err == "gru_parallel: data.path=a.csv: 3 rows are missing.\n" * n_lines


def test_an_occupied_port_is_refused(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        be_rank(monkeypatch, port=port)
        ended = train_command(*THREADS, "engine=processes")

    assert_refused(
        ended,
        f"Rank 0 must be able to host the store of the run at 127.0.0.1:{port}, but cannot",
    )
