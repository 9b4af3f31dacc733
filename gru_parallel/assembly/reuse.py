"""From a finished run to the parts of another use of its weights: plan, data, module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.finished_run import FinishedRun
from gru_parallel.assembly.module import build_module
from gru_parallel.assembly.own_data import check_unchanged
from gru_parallel.assembly.planned import build_plan
from gru_parallel.assembly.settled import settled
from gru_parallel.assembly.trainer import check_trainer
from gru_parallel.choices import AUTO
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.parts import Parts, all_for_test, split_tables
from gru_parallel.data.share import Share
from gru_parallel.data.table import Table
from gru_parallel.engine.devices import existing_devices, existing_devices_of_ranks
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.planning import RankMap, ranks_per_replica
from gru_parallel.processes.world import device_of_rank
from gru_parallel.ranks import Ranks, check_alike, check_one_gpu_per_rank, gpu_identity
from gru_parallel.training import SeriesModule
from gru_parallel.training.saving_clock import written_at
from gru_parallel.training.whole_state import load_part


@dataclass(frozen=True)
class Reuse:
    """The weights of a finished run, ready to be run by a plan.

    Attributes:
        run: whose weights they are.
        config: its settings, with what the plan has chosen.
        plan: where the stages run.
        module: with the weights of this process's stages.
        share: the rows of each batch that come here.
        ranks: of this use; None if this is the only process.
    """

    run: FinishedRun
    config: Config
    plan: Plan
    module: SeriesModule
    share: Share
    ranks: Ranks | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.ranks is None or self.ranks.is_first

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them, if they have other plans or weights, or share a GPU.
        """
        checkpoint = written_at(self.run.saved.get("saved_at"))
        check_alike(ranks, {"plan": self.plan.to_json(), "checkpoint": checkpoint})
        check_one_gpu_per_rank(ranks, gpu_identity(device_of_rank(self.plan, ranks.launch)))


def reuse(run: FinishedRun, ranks: Ranks | None = None) -> Reuse:
    """Plan where the model of a finished run runs now, and load its weights there.

    Unless settings say otherwise, it runs where it ran in its run, if these devices are here, and
    in the same cells, so that predictions are the same to the bit.

    Args:
        run: whose weights are used.
        ranks: if this process is one of many; nothing here waits for other ranks.

    Raises:
        UsageError: the placement or a setting of the Trainer cannot work, or the checkpoint lacks
            a weight.
    """
    check_trainer(run.config, ranks_train=False)
    n_ranks = None if ranks is None else ranks.world_size
    config = _placed_as_before(run, n_ranks)
    plan = build_plan(config, run.record.widths, check_exists=True, n_ranks=n_ranks).planned.plan
    replica, blocks = 0, None
    if ranks is not None:
        # Each rank makes its plan, and all take the first one that is ready.
        made = plan.to_json()
        plan = Plan.from_json(ranks.shared_text("plan", lambda: made))
        rank_map = RankMap(plan, plan.data_parallel, ranks.world_size)
        device_of_rank(plan, ranks.launch)
        replica, blocks = rank_map.replica(ranks.rank), rank_map.blocks(ranks.rank)
    config = settled(config, plan)
    module = build_module(config, run.record.widths, blocks)
    _load(module, run)
    return Reuse(run, config, plan, module, Share(replica, config.data_parallel), ranks)


def build_test_data(
    using: Reuse, tables: Sequence[Table], pin_memory: bool = False
) -> SeriesDataModule:
    """Make the data to test on, standardised as the run's was.

    Of other data than the run's, all rows are the test part, unless `data.split` is given.

    Args:
        using: the weights that are tested, and the settings of the data.
        tables: the series.
        pin_memory: whether batches are put into pinned memory, for copies to a GPU.

    Raises:
        UsageError: the series are too short, or said to be those of the run and have changed since.
    """
    return build_data(
        using.config,
        SeriesDataModule,
        using.share.index,
        pin_memory,
        record=using.run.record,
        tables=tables,
        parts=parts_to_test(using.run, tables),
    )


def parts_to_test(run: FinishedRun, tables: Sequence[Table]) -> Parts:
    """Say which rows may be tested on: the run's test part; of other data all, or its test part.

    Args:
        run: whose weights are tested, with the settings of the data.
        tables: the series.

    Raises:
        UsageError: there is no test part, or the series are said to be those of the run and have
            changed since.
    """
    if run.tests_all:
        return all_for_test(tables)
    if run.has_own_parts:
        check_unchanged(run, tables)
    data = run.config.data
    parts = split_tables(tables, data.split, data.split_by, trains=False)
    if not parts["test"]:
        raise UsageError(
            f"run={run.folder.path} has no test part ({run.config.no_test}): it was trained on all"
            f" of its data; name other data with {run.other_data}, or another data.split."
        )
    return parts


def _placed_as_before(run: FinishedRun, n_ranks: int | None) -> Config:
    """Have the model placed as in its run, if settings say nothing else and it can be."""
    config, plan = run.config, run.plan
    placement = config.placement
    if plan is None or placement.path is not None or placement.device_map not in (None, AUTO):
        return config
    if n_ranks is None:
        existing = existing_devices()
    else:
        existing = existing_devices_of_ranks(n_ranks)
        per_replica = ranks_per_replica(config.data_parallel, n_ranks)
        if len(set(plan.devices)) != per_replica:
            return config
    if not set(plan.all_devices) <= set(existing):
        return config
    device_map = [stage.device_text for stage in plan.stages for _ in stage.blocks]
    return replace(config, placement=replace(placement, device_map=device_map))


def _load(module: SeriesModule, run: FinishedRun) -> None:
    """Load the weights of this process's stages."""
    weights = run.saved["state_dict"]
    missing = sorted(module.state_dict().keys() - weights.keys())
    if missing:
        raise UsageError(
            f"run={run.checkpoint} has no {missing[0]}, which its settings ask for; give the"
            " checkpoint of a run of gru_parallel.train."
        )
    load_part(module, weights)
    module.eval()
