"""With plan=measure the best plans run before one is taken, and what they took is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.assembly import costs, measured
from gru_parallel.assembly.cluster import local_cluster
from gru_parallel.assembly.measured import measure_trials
from gru_parallel.assembly.planned import Planning, build_plan
from gru_parallel.assembly.workload import workload
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.errors import UsageError
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.placement.cluster import Link
from gru_parallel.planning import Planned
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.profile import OF_RANKS, Profile, Trial
from gru_parallel.planning.trials import digest
from gru_parallel.profiling import measure, pipelines, trials
from gru_parallel.profiling.pipelines import Precision
from tests.assembly.models import MODELS, read, widths_of

SMALL = ("data.batch_size=2", "data.input_length=16")
SCALED = ("data.scaling=none", "data.centre=scale")
OTHERS = {
    "quantiles": ("a window", "model.loss=quantile"),
    "a normal distribution": ("every step", "model.loss=normal"),
    "counts": ("channels by themselves", "model.loss=negative_binomial", *SCALED),
    "mixed precision": ("SegRNN", "trainer.precision=bf16-mixed"),
    "static": ("SegRNN",),
    "double precision": ("both ways", "trainer.precision=64-true"),
}


@pytest.mark.parametrize("case", [*MODELS, *OTHERS])
def test_a_model_of_every_kind_can_be_tried(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SECONDS", 0.0)
    name, *overrides = OTHERS.get(case, (case,))
    config = read(name, *SMALL, *overrides)
    widths = replace(widths_of(config), n_static=2 if case == "static" else 0)

    (trial,) = measure_trials(config, widths, [planned(config, widths)])

    assert trial.step_ms is not None
    assert trial.step_ms > 0


def planned(config: Config, widths: Widths) -> Planned:
    stages = (StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 2))
    plan = Plan(4, Grid(1, "one_f_one_b", 2, 1), stages)
    cluster = local_cluster(["cpu:0", "cpu:1"])
    return Planned(plan, workload(config, widths), cluster, AnalyticCosts(cluster))


def test_a_profile_and_the_plan_that_took_least_are_kept_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Sequence[Planned]] = []

    def last_is_fastest(_: Any, __: Any, given: Sequence[Planned]) -> tuple[Trial, ...]:
        tried.append(given)
        return tuple(
            Trial(each.plan, digest(each.workload.model), 9.0 - number)
            for number, each in enumerate(given)
        )

    monkeypatch.setenv("GRU_PARALLEL_CACHE", str(tmp_path))
    monkeypatch.setattr(measure, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(pipelines, "MOST_STEPS", 1)
    monkeypatch.setattr(measure, "hand_over_of_ranks", lambda: Link(0.2, 1e9))
    monkeypatch.setattr(measured, "measure_trials", last_is_fastest)
    monkeypatch.setattr("gru_parallel.planning.trials.CLOSE", 1e9)

    before, now, later, fixed, estimated = (
        plan_by(*overrides)
        for overrides in (
            ["plan=cached"],
            ["plan=measure"],
            ["plan=cached"],
            ["plan=cached", "placement.device_map=[0,0]", "schedule=gpipe"],
            ["plan=analytic"],
        )
    )

    plannings = (before, now, later, fixed, estimated)
    sources = [each.planned.costs.source.partition(" ")[0] for each in plannings]
    assert sources == ["analytic", "measured", "measured", "measured", "analytic"]
    (given,) = tried
    assert given[0].plan != given[-1].plan == now.planned.plan
    assert later.planned.plan == now.planned.plan
    assert [trial for trial, _ in later.tried] == [trial for trial, _ in now.tried]
    # Tried were plans of other settings.
    assert fixed.found is not None
    assert fixed.planned.plan == fixed.found.best.plan
    assert before.tried == estimated.tried == fixed.tried == ()
    (path,) = tmp_path.iterdir()
    assert Profile.from_json(path.read_text()).links[OF_RANKS].latency_ms == 0.2


def plan_by(*overrides: str, check_exists: bool = True) -> Planning:
    size = ("model.num_layers=2", "model.hidden_size=2", "model.core=fused")
    config = read("a window", "data.input_length=2", "data.batch_size=1", *size, *overrides)
    return build_plan(config, widths_of(config), check_exists=check_exists)


def test_devices_that_are_described_are_not_measured() -> None:
    with pytest.raises(UsageError, match="cluster=8xh100 describes devices; use cluster=local"):
        plan_by("plan=measure", "cluster=8xh100", check_exists=False)


def test_another_rate_or_an_older_name_of_a_precision_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[object] = []
    monkeypatch.setenv("GRU_PARALLEL_CACHE", str(tmp_path))
    monkeypatch.setattr(costs, "load_profile", lambda key: kept.append(key))

    for overrides in (
        ["trainer.precision=bf16-mixed"],
        ["trainer.precision=bf16", "optimizer.lr=0.5"],
        ["trainer.precision=32", "optimizer.lr=0.25"],
        ["trainer.precision=32-true"],
        ["optimizer=sgd"],
    ):
        plan_by(*overrides)

    assert kept[0] == kept[1] != kept[2] == kept[3] != kept[4]


def test_mixed_precision_by_its_older_name_computes_in_mixed_precision() -> None:
    precision = measured._precision(read("a window", "trainer.precision=bf16"))

    assert precision == Precision(torch.float32, torch.bfloat16)
