"""From the settings to the plan: that of a file or a device map, or the one that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gru_parallel.assembly.cluster import cluster_of, described_cluster, local_cluster
from gru_parallel.assembly.costs import costs_of
from gru_parallel.assembly.settled import settled
from gru_parallel.assembly.trials import trials_of
from gru_parallel.assembly.workload import workload
from gru_parallel.choices import AUTO, AUTO_SCHEDULES, RECOMPUTE
from gru_parallel.config.check_config import check_grid
from gru_parallel.config.cluster_section import DescribedCluster
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.data.widths import Widths
from gru_parallel.engine.devices import existing_devices, existing_devices_of_ranks
from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Grid, Plan, StagePlan
from gru_parallel.placement.device_map import has_numbers
from gru_parallel.planning import (
    Found,
    Options,
    Planned,
    Problem,
    check_reverse_devices,
    check_weights_can_wait,
    plan_from_device_map,
    search,
)
from gru_parallel.planning.options import chunks_up_to, micro_batches_up_to
from gru_parallel.planning.profile import Trial
from gru_parallel.planning.trials import comparable, fastest
from gru_parallel.rules import as_written
from gru_parallel.run_folder import RunFolder


@dataclass(frozen=True)
class Planning:
    """A plan, and what it was found from.

    Attributes:
        planned: the plan, and what it should come to.
        problem: what was to be planned.
        found: how the plan was found; None if it was in a file.
        tried: the plans that ran before one of them was taken, and what they took.
    """

    planned: Planned
    problem: Problem
    found: Found | None = None
    tried: tuple[tuple[Trial, Planned], ...] = ()


def build_plan(
    config: Config,
    widths: Widths,
    *,
    check_exists: bool,
    n_ranks: int | None = None,
) -> Planning:
    """Make the plan: by the file or the device map where there is one, else by a search.

    What a device map or a setting does not say is searched for, too.

    Args:
        config: the run's settings.
        widths: of the windows.
        check_exists: whether the devices must exist on this machine.
        n_ranks: of all replicas, each with a device; None for the devices of this process.

    Raises:
        UsageError: file, device map or schedule cannot work.
    """
    work = workload(config, widths)
    given = _given_plan(config, check_exists, n_ranks)
    stages = None if given is None else given.stages
    if stages is None:
        cluster = cluster_of(config, n_ranks, check_exists)
    else:
        names = dict.fromkeys(name for stage in stages for name in stage.devices)
        cluster = _with_devices(config, list(names), n_ranks, check_exists)
    # Ranks that were not started yet are assumed to be as many as devices.
    uses_all = isinstance(config.engine, ProcessesConfig)
    options, begun = (
        _options(settings, cluster, stages, uses_all=uses_all)
        for settings in (config, _as_begun(config))
    )
    asked = () if given is None else (given.core,)
    cores = dict.fromkeys((*options.cores, *begun.cores, *asked))
    replays = _may_replay(config, cluster, stages)
    costs = costs_of(config, work, cluster, tuple(cores), replays=replays)
    problem = Problem(work, cluster, costs, options, partial(_replays, config))
    if replace(problem, options=begun).branches():
        problem = replace(problem, options=begun)
    if config.placement.path is not None and given is not None:
        planning = Planning(problem.planned(given), problem)
    else:
        _check_schedule(problem)
        found = search(problem)
        trials = trials_of(config, widths, problem, found.best)
        tried = tuple(comparable(problem, found.best, trials))
        planning = Planning(fastest(found.best, tried), problem, found, tried)
    plan, blocks = planning.planned.plan, work.model.blocks
    check_reverse_devices(plan, [block.bidirectional for block in blocks])
    check_weights_can_wait(plan, [plan.core] * plan.n_blocks)
    return planning


def _as_begun(config: Config) -> Config:
    """Keep the cells and the core of a run that is resumed: its bits depend on them.

    They are in the checkpoint's plan; what the settings say comes first.
    """
    if config.ckpt_path is None:
        return config
    try:
        plan = _plan_of(config.ckpt_path)
    except UsageError:
        # The run will be refused, unless this is a checkpoint of an earlier version.
        return config
    begun = settled(config, replace(plan, data_parallel=config.data_parallel))
    asked, was = config.schedule, begun.schedule
    kept = {
        name: getattr(was if getattr(asked, name) == AUTO else asked, name)
        for name in ("name", "n_micro_batches", "n_chunks", "recompute")
    }
    core = begun.model.core if config.model.core == AUTO else config.model.core
    return replace(config, model=replace(config.model, core=core), schedule=replace(asked, **kept))


def _plan_of(checkpoint: Path) -> Plan:
    """Return the plan of a checkpoint's run; earlier versions have it only beside the file."""
    # With torch and Lightning, which a plan of a new run does not wait for.
    from gru_parallel.training.checkpoint_file import read_checkpoint

    saved = read_checkpoint(checkpoint, checks=False)
    if "plan" in saved:
        return Plan.from_json(saved["plan"])
    return _read_plan(RunFolder(checkpoint.absolute().parent.parent).plan)


def _given_plan(config: Config, check_exists: bool, n_ranks: int | None) -> Plan | None:
    """Return the plan of a file, or the stages of a device map; None where there is neither."""
    placement = config.placement
    n_here = None if n_ranks is None else n_ranks // max(1, config.data_parallel)
    if placement.path is not None:
        plan = _read_plan(Path(placement.path))
        check_fits(plan, config)
        if check_exists:
            _check_devices(plan, n_here)
        return plan
    if placement.device_map in (None, AUTO):
        return None
    existing: tuple[str, ...] = ()
    if isinstance(config.cluster, DescribedCluster):
        existing = described_cluster(config.cluster).device_names
    elif check_exists or has_numbers(placement.device_map):
        existing = existing_devices() if n_here is None else existing_devices_of_ranks(n_here)
    return plan_from_device_map(
        placement.device_map,
        existing,
        num_layers=config.model.num_layers,
        grid=Grid(config.model.layers_per_block),
        merge=placement.merge,
        check_exists=check_exists,
    )


def _read_plan(path: Path) -> Plan:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"placement.path={path} cannot be read ({reason}); give the plan.json of a run, or what"
            " gru_parallel.plan has written."
        ) from error
    try:
        return Plan.from_json(text)
    except UsageError as error:
        raise UsageError(f"placement.path={path}: {error}") from error


def check_fits(plan: Plan, config: Config) -> None:
    """Check that a plan that was read is one of this model, and what the settings say.

    Raises:
        UsageError: it is not, the message names the first setting that differs; or it is for
            replicas and the engine has none, or cuts a batch into more than there is of it.
    """
    model, schedule, grid = config.model, config.schedule, plan.grid
    given = {
        "model.num_layers": (model.num_layers, plan.num_layers),
        "model.layers_per_block": (model.layers_per_block, grid.layers_per_block),
        "model.core": (model.core, plan.core),
        "schedule.name": (schedule.name, grid.schedule),
        "schedule.n_micro_batches": (schedule.n_micro_batches, grid.n_micro_batches),
        "schedule.n_chunks": (schedule.n_chunks, grid.n_chunks),
        "schedule.truncate": (schedule.truncate, grid.truncate),
        "schedule.recompute": (schedule.recompute, grid.recompute),
    }
    if isinstance(config.engine, ProcessesConfig):
        given["engine.data_parallel"] = (config.engine.data_parallel, plan.data_parallel)
    elif plan.data_parallel > 1:
        raise UsageError(
            f"placement.path={config.placement.path} has a plan of"
            f" {plan.data_parallel} replicas, which only engine=processes has; use"
            f" engine=processes engine.data_parallel={plan.data_parallel} under torchrun, or make"
            " another plan."
        )
    for name, (wanted, found) in given.items():
        if wanted not in (AUTO, found):
            raise UsageError(
                f"placement.path={config.placement.path} has a plan with"
                f" {name}={as_written(found)}, and the settings say {as_written(wanted)}; set"
                f" {name}={as_written(found)}, or make another plan."
            )
    try:
        # Numbers that the settings leave open have not been checked yet.
        check_grid(settled(config, plan))
    except UsageError as error:
        raise UsageError(
            f"placement.path={config.placement.path} has a plan that is not for these data:"
            f" {error} Or make another plan."
        ) from error


def _check_devices(plan: Plan, n_ranks: int | None) -> None:
    here = existing_devices() if n_ranks is None else existing_devices_of_ranks(n_ranks)
    missing = [name for name in plan.all_devices if name not in here]
    if missing:
        raise UsageError(
            f"the plan of placement.path has {', '.join(missing)}, and here there are"
            f" {', '.join(here)}; make a plan for these."
        )


def _with_devices(
    config: Config, names: Sequence[str], n_ranks: int | None, check_exists: bool
) -> Cluster:
    """Return the cluster with the devices that a map names alone."""
    whole = cluster_of(config, n_ranks, check_exists)
    if whole.is_local:
        return local_cluster(names, of_ranks=n_ranks is not None)
    return whole.only(names)


def _options(
    config: Config,
    cluster: Cluster,
    stages: tuple[StagePlan, ...] | None,
    *,
    uses_all: bool,
) -> Options:
    """Say what the settings leave open."""
    model, schedule, data = config.model, config.schedule, config.data
    all_cpu = all(device.is_cpu for device in cluster.devices)
    widths = _widths(config, cluster)
    n_rows = data.batch_size // min(widths)
    return Options(
        layers_per_block=model.layers_per_block,
        schedules=AUTO_SCHEDULES if schedule.name == AUTO else (schedule.name,),
        n_micro_batches=(
            micro_batches_up_to(n_rows)
            if schedule.n_micro_batches == AUTO
            else (schedule.n_micro_batches,)
        ),
        n_chunks=(
            chunks_up_to(config.n_steps, schedule.truncate)
            if schedule.n_chunks == AUTO
            else (schedule.n_chunks,)
        ),
        recompute=RECOMPUTE if schedule.recompute == AUTO else (schedule.recompute,),
        # On accelerators the cores of this library are slower, as far as is known.
        cores=(AUTO, "lean") if model.core == AUTO and all_cpu else (model.core,),
        data_parallel=widths,
        truncate=schedule.truncate,
        stages=stages,
        uses_all=uses_all,
    )


def _widths(config: Config, cluster: Cluster) -> tuple[int, ...]:
    """Numbers of replicas that there may be: each replica has as many devices as the others."""
    engine = config.engine
    if not isinstance(engine, ProcessesConfig) or engine.data_parallel != AUTO:
        return (config.data_parallel,)
    n_devices = len(cluster.devices)
    most = min(n_devices, config.data.batch_size)
    return tuple(width for width in range(1, most + 1) if n_devices % width == 0)


def _check_schedule(problem: Problem) -> None:
    """Say why nothing can run, where that is so."""
    if problem.branches():
        return
    options, device = problem.options, problem.cluster.devices[0]
    grid = Grid(options.layers_per_block, options.schedules[0])
    blocks = problem.workload.model.blocks
    stages = options.stages or (StagePlan(device.name, 0, len(blocks)),)
    for core in options.cores:
        plan = Plan(blocks[-1].layers.stop, grid, stages, core)
        check_weights_can_wait(plan, [core] * plan.n_blocks)


def _replays(config: Config, plan: Plan) -> bool:
    """Whether an engine with this plan records its steps and replays them.

    Raises:
        UsageError: it is to, and a stage has a second device.
    """
    second = next((s.device_text for s in plan.stages if s.reverse_device is not None), None)
    if config.engine.graphs is True and second is not None:
        raise UsageError(
            f"engine.graphs=true does not go with the second device of {second}, whose thread works"
            " beside its stage; use engine.graphs=auto, or one device for each block."
        )
    return _replays_on(config, plan.all_devices, has_second=second is not None)


def _may_replay(config: Config, cluster: Cluster, stages: tuple[StagePlan, ...] | None) -> bool:
    """Whether engines with plans for these devices record their steps, see `_replays`."""
    if stages is not None:
        names = [name for stage in stages for name in stage.devices]
        return _replays_on(
            config, names, has_second=any(stage.reverse_device is not None for stage in stages)
        )
    # Beside accelerators CPUs are hardly ever of use.
    names = [device.name for device in cluster.devices if not device.is_cpu]
    return _replays_on(config, names, has_second=False)


def _replays_on(config: Config, names: Sequence[str], *, has_second: bool) -> bool:
    """Whether an engine on these devices records its steps."""
    if config.engine.graphs != AUTO:
        return bool(config.engine.graphs)
    on_cuda = bool(names) and all(name.startswith("cuda") for name in names)
    return on_cuda and config.schedule.truncate is None and not has_second
