"""At an interval a run says how fast it goes, how busy its stages are and what memory they took."""

import csv
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from gru_parallel.report import pace_line
from gru_parallel.training.metrics_file import MetricsFile
from gru_parallel.training.pace import N_WARM_UP, Pace, PaceRecord, names_of_metrics
from gru_parallel.training.step_clock import StepClock
from tests.builders import make_plan
from tests.runs import N_BATCHES, N_TRAINING, fit

PLAN = make_plan([1, 2, 1], n_micro_batches=2, n_chunks=2)
ALWAYS_S, NEVER_S = 1e-9, 1e6
PACE = Pace(0, 240, 16.94, 1085.2, (0.87, 0.912), (2**29, 2**29), 1)


def test_each_pace_has_rates_busy_shares_and_memory() -> None:
    paces: list[Pace] = []
    fit(PLAN, callbacks=[StepClock(), PaceRecord(ALWAYS_S, [paces.append])])

    assert [pace.step for pace in paces] == list(range(N_WARM_UP + 1, 2 * N_BATCHES + 1))
    assert [pace.epoch for pace in paces] == [0, 0, *[1] * N_BATCHES]
    for pace in paces:
        assert pace.steps_per_s > 0
        n_rows = pace.samples_per_s / pace.steps_per_s
        assert n_rows == pytest.approx(N_TRAINING % 16 if pace.step % N_BATCHES == 0 else 16)
        assert len(pace.busy) == len(pace.peak_bytes) == 3
        assert all(0 < share <= 1 for share in pace.busy)
        # The resident memory of this process, which holds torch.
        assert all(n_bytes > 2**26 for n_bytes in pace.peak_bytes)
        assert pace.n_processes == 1


def test_a_run_that_ends_before_the_interval_says_nothing() -> None:
    paces: list[Pace] = []
    fit(PLAN, callbacks=[StepClock(), PaceRecord(NEVER_S, [paces.append])], max_epochs=1)

    assert paces == []


def test_the_pace_is_looked_at_after_ever_more_batches_until_the_interval_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []
    record = PaceRecord(NEVER_S, [])
    measure = record._measure

    def look(trainer: Any) -> None:
        looks.append(record._n_batches)
        measure(trainer)

    monkeypatch.setattr(record, "_measure", look)
    fit(make_plan([4]), callbacks=[StepClock(), record], max_epochs=8, limit_val_batches=0)

    assert looks == [4, 8, 16, 32]


def test_the_pace_leaves_the_timelines_that_the_clock_keeps_as_they_are() -> None:
    clocks = [StepClock(n_warm_up=2, most_kept=4) for _ in range(2)]
    options: dict[str, Any] = {"max_epochs": 4, "limit_val_batches": 0}
    uncut = make_plan([1, 2, 1])
    fit(uncut, callbacks=[clocks[0]], **options)
    fit(uncut, callbacks=[clocks[1], PaceRecord(ALWAYS_S, [])], **options)

    numbers = [[step.number for step in clock._kept] for clock in clocks]
    assert numbers[0] == numbers[1]


def test_loggers_and_metrics_csv_get_the_pace(tmp_path: Path) -> None:
    paces: list[Pace] = []
    metrics = MetricsFile(tmp_path / "metrics.csv", 1, names_of_metrics(3))
    logger = CSVLogger(tmp_path, "csv", "")
    record = PaceRecord(ALWAYS_S, [paces.append, metrics.write_pace])
    fit(PLAN, callbacks=[StepClock(), record, metrics], logger=logger, max_epochs=1)

    names = names_of_metrics(3)
    for path in (metrics.path, tmp_path / "csv" / "metrics.csv"):
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("pace/busy_2")]
        assert [int(row["step"]) for row in rows] == [pace.step for pace in paces] == [4, 5]
        for row, pace in zip(rows, paces, strict=True):
            assert {name: float(row[name]) for name in names} == pace.by_name()


def test_a_resumed_run_of_fewer_stages_keeps_the_columns_of_those_before(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"

    def callbacks(n_stages: int) -> list[Any]:
        metrics = MetricsFile(path, 1, names_of_metrics(n_stages))
        return [StepClock(), PaceRecord(ALWAYS_S, [metrics.write_pace]), metrics]

    first = fit(PLAN, callbacks=callbacks(3), max_epochs=1)
    first.trainer.save_checkpoint(tmp_path / "first.ckpt")
    before = path.read_text().splitlines()
    fit(make_plan([4]), callbacks=callbacks(1), ckpt_path=tmp_path / "first.ckpt")

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(before[0].split(",")) == set(rows[0])
    busy = [(row["step"], bool(row["pace/busy_0"]), bool(row["pace/busy_2"])) for row in rows]
    assert ("5", True, True) in busy
    assert ("10", True, False) in busy


@pytest.mark.parametrize(
    ("n_processes", "devices", "memory"),
    [
        (1, ["cpu:0", "cpu:1"], "peak memory of the process 512 MiB"),
        (2, ["cpu:0", "cpu:1"], "peak memory of their processes 512 MiB, 512 MiB"),
        (1, ["cuda:0", "cuda:1"], "peak memory of their devices 512 MiB, 512 MiB"),
    ],
)
def test_a_line_tells_of_a_pace(n_processes: int, devices: list[str], memory: str) -> None:
    pace = Pace(*vars(PACE).values()) if n_processes == 1 else Pace(*[*vars(PACE).values()][:-1], 2)

    line = pace_line(pace, devices)

    rates = "Step 240: 16.9 steps/s, 1,085 samples/s"
    assert line == f"{rates}; stages busy 87.0 %, 91.2 %; {memory}"
