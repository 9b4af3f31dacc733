"""From settings to a plan: by search, device map or file, and what a resumed run keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gru_parallel.assembly.planned import build_plan
from gru_parallel.assembly.settled import settled
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan


def config(*overrides: str) -> Config:
    return read_config(compose_config(["plan=analytic", *overrides]))


def plan_of(given: Config, n_ranks: int | None = None) -> Plan:
    planning = build_plan(given, Widths(4, 2), check_exists=False, n_ranks=n_ranks)
    return planning.planned.plan


BIG = ("model.hidden_size=256", "placement.device_map={0-1: cpu:0, 2-3: cpu:1}")


def test_what_is_given_is_kept_and_the_rest_is_found() -> None:
    plan = plan_of(config(*BIG, "schedule=gpipe", "schedule.n_micro_batches=2"))

    assert plan.devices == ("cpu:0", "cpu:1")
    assert (plan.grid.schedule, plan.grid.n_micro_batches) == ("gpipe", 2)
    assert plan.grid.n_chunks > 1
    assert plan.grid.recompute == "none"


def test_settings_that_are_settled_give_the_same_plan_again() -> None:
    given = config(*BIG)
    plan = plan_of(given)

    fixed = settled(given, plan)

    assert plan_of(fixed) == plan
    assert fixed.schedule.n_chunks == plan.grid.n_chunks
    assert build_plan(fixed, Widths(4, 2), check_exists=False).found is not None


def test_a_plan_in_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    wanted = plan_of(config(*BIG, "schedule=gpipe", "schedule.n_chunks=3", "model.core=lean"))
    path = tmp_path / "plan.json"
    path.write_text(wanted.to_json(), encoding="utf-8")
    given = config(BIG[0], "placement=file", f"placement.path={path}")

    planning = build_plan(given, Widths(4, 2), check_exists=True)

    assert planning.planned.plan == wanted
    assert planning.found is None
    assert settled(given, wanted).model.core == "lean"


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("model.num_layers=5", "model.num_layers=4"),
        ("schedule.n_chunks=7", "schedule.n_chunks=3"),
        ("schedule=zero_bubble", "schedule.name=gpipe"),
        ("model.core=fused", "model.core=lean"),
    ],
)
def test_a_file_that_contradicts_the_settings_is_refused(
    setting: str, named: str, tmp_path: Path
) -> None:
    wanted = plan_of(config(*BIG, "schedule=gpipe", "schedule.n_chunks=3", "model.core=lean"))
    path = tmp_path / "plan.json"
    path.write_text(wanted.to_json(), encoding="utf-8")

    with pytest.raises(UsageError, match=f"has a plan with {named}, and the settings say"):
        plan_of(config("placement=file", f"placement.path={path}", setting))


def test_a_file_that_is_missing_or_no_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(UsageError, match=r"placement\.path=.*cannot be read"):
        plan_of(config("placement=file", f"placement.path={path}"))
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="the plan has version None"):
        plan_of(config("placement=file", f"placement.path={path}"))


def test_devices_of_a_file_have_to_be_here_to_train(tmp_path: Path) -> None:
    wanted = plan_of(config("placement.device_map={0-1: cuda:6, 2-3: cuda:7}"))
    path = tmp_path / "plan.json"
    path.write_text(wanted.to_json(), encoding="utf-8")
    given = config("placement=file", f"placement.path={path}")

    assert build_plan(given, Widths(4, 2), check_exists=False).planned.plan == wanted
    with pytest.raises(UsageError, match="cuda:6, cuda:7, and here there are"):
        build_plan(given, Widths(4, 2), check_exists=True)


def saved(folder: Path, plan: Plan, *, beside: bool = False) -> Path:
    """Write a checkpoint with a plan; earlier versions have it in a file beside it alone."""
    path = folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    torch.save({"state_dict": {}} | ({} if beside else {"plan": plan.to_json()}), path)
    if beside:
        (folder / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    return path


@pytest.mark.parametrize("beside", [False, True])
def test_a_run_that_is_resumed_keeps_its_cells_and_its_core(beside: bool, tmp_path: Path) -> None:
    begun = plan_of(config(*BIG, "schedule=gpipe", "schedule.n_chunks=5", "model.core=lean"))
    checkpoint = f"ckpt_path={saved(tmp_path, begun, beside=beside)}"

    kept = plan_of(config("model.hidden_size=256", checkpoint))
    changed = plan_of(config("model.hidden_size=256", checkpoint, "schedule.n_chunks=6"))

    assert (kept.grid, kept.core) == (begun.grid, "lean")
    assert changed.grid == replace(begun.grid, n_chunks=6)
    # On a GPU, too.
    on_gpu = plan_of(config(checkpoint, "placement.device_map=[cuda:0,cuda:0,cuda:0,cuda:0]"))
    assert on_gpu.core == "lean"


def test_a_resumed_run_whose_schedule_is_impossible_here_gets_another(tmp_path: Path) -> None:
    begun = plan_of(config(*BIG, "schedule=zero_bubble"))
    path = saved(tmp_path, begun)
    on_gpus = "placement.device_map={0-1: cuda:0, 2-3: cuda:1}"

    found = plan_of(config(f"ckpt_path={path}", on_gpus))

    assert found.grid.schedule == "one_f_one_b"


def test_every_rank_has_stages_and_replicas_may_be_found() -> None:
    ranks = ("engine=processes", "model.hidden_size=64")

    assert plan_of(config(*ranks), n_ranks=4).n_stages == 4
    found = plan_of(config(*ranks, "engine.data_parallel=auto"), n_ranks=8)
    assert found.n_stages * found.data_parallel == 8
    assert settled(config(*ranks, "engine.data_parallel=auto"), found).data_parallel > 1


def test_ranks_do_not_measure() -> None:
    given = replace(config("engine=processes"), plan="measure")

    with pytest.raises(UsageError, match=r"measure with gru_parallel\.plan plan=measure"):
        plan_of(given, n_ranks=2)


def test_truncation_has_the_chunks_that_it_always_had() -> None:
    plan = plan_of(config("schedule.truncate=2", "data.input_length=32"))

    assert plan.grid.n_chunks == 8


def test_a_described_cluster_is_planned_with_all_its_devices() -> None:
    given = config("cluster=8xh100", "model.hidden_size=1024", "model.num_layers=16")

    planned = build_plan(given, Widths(4, 2), check_exists=False).planned

    assert planned.plan.devices[0] == "cuda:0"
    assert len(planned.cluster.devices) == 8
    assert planned.costs.source == "analytic"


@pytest.fixture
def plan_file(tmp_path: Path) -> Callable[[Plan], list[str]]:
    """Writes a plan of the default model, and returns the settings that take it."""

    def written(plan: Plan) -> list[str]:
        path = tmp_path / "plan.json"
        path.write_text(plan.to_json(), encoding="utf-8")
        return ["placement=file", f"placement.path={path}"]

    return written


def test_a_plan_of_replicas_is_not_for_one_process(
    plan_file: Callable[[Plan], list[str]],
) -> None:
    plan = plan_of(config("engine=processes", "engine.data_parallel=2"), n_ranks=4)

    with pytest.raises(UsageError, match=r"2 replicas, .* use engine=processes engine\.data_par"):
        plan_of(config(*plan_file(plan)))
    assert plan_of(config(*plan_file(plan), "engine=processes", "engine.data_parallel=2")) == plan


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"n_chunks": 10**30}, r"placement\.path=.*: schedule\.n_chunks=1"),
        ({"n_micro_batches": 10**9}, r"placement\.path=.*: schedule\.n_micro_batches=1"),
    ],
    ids=["chunks", "micro-batches"],
)
def test_a_plan_that_cuts_a_batch_into_more_than_there_is_of_it_is_refused(
    grid: dict[str, int], said: str, plan_file: Callable[[Plan], list[str]]
) -> None:
    plan = plan_of(config())

    with pytest.raises(UsageError, match=said):
        plan_of(config(*plan_file(replace(plan, grid=replace(plan.grid, **grid)))))


def test_times_are_those_of_graphs_only_where_the_engine_replays() -> None:
    both_ways = ("cluster=8xh100", "model.bidirectional=true", "model.hidden_size=1024")
    second = "placement.device_map=[0+1,2+3,4+5,6+7]"
    truncated = ("cluster=8xh100", "schedule.truncate=1", "model.hidden_size=1024")

    for settings in ((*both_ways, second), truncated):
        by_default, without = (
            build_plan(config(*settings, *more), Widths(4, 2), check_exists=False).planned
            for more in ([], ["engine.graphs=false"])
        )
        assert by_default.step_ms == without.step_ms
        assert by_default.stage_memory_bytes == without.stage_memory_bytes
    replayed, without = (
        build_plan(config(*both_ways, *more), Widths(4, 2), check_exists=False).planned
        for more in ([], ["engine.graphs=false"])
    )
    assert replayed.step_ms < without.step_ms
