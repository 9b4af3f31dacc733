"""Builds and checks all that a training run needs, before it begins."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.length import run_length
from gru_parallel.assembly.memory import check_memory
from gru_parallel.assembly.module import build_module
from gru_parallel.assembly.optimizer import check_rates
from gru_parallel.assembly.planned import build_plan
from gru_parallel.assembly.settled import settled
from gru_parallel.assembly.start import Start, build_start, describe_as_before
from gru_parallel.assembly.trainer import check_trainer, quieten_lightning
from gru_parallel.config.check_training import check_scaled_errors
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.baselines import Score, repeat_last
from gru_parallel.data.fingerprint import fingerprint
from gru_parallel.engine.devices import accelerator_kind
from gru_parallel.engine.peak_memory import peak_rss_bytes
from gru_parallel.placement import Plan
from gru_parallel.planning import Planned, RankMap, ranks_per_replica
from gru_parallel.processes.world import device_of_rank
from gru_parallel.ranks import Ranks, check_alike, check_one_gpu_per_rank, gpu_identity
from gru_parallel.training import SeriesModule
from gru_parallel.training.saving_clock import written_at


@dataclass(frozen=True)
class Prepared:
    """A run that has passed all checks and has not begun.

    Attributes:
        config: its settings, with what the plan has chosen.
        as_given: its settings, with what they left to the planner.
        validated: indices of the windows that each validation is on; empty for no validation.
        validation_baselines: errors on these windows, of the baseline that needs no season.
        tested: indices of the windows that it will be tested on; empty for no test.
        baselines: errors on these windows, by name of the baseline.
        rss_before_bytes: the peak of this process's resident memory before the model was made.
    """

    config: Config
    as_given: Config
    data: SeriesDataModule
    module: SeriesModule
    planned: Planned
    start: Start
    validated: Tensor
    validation_baselines: dict[str, Score]
    tested: Tensor
    baselines: dict[str, Score]
    rss_before_bytes: int
    ranks: Ranks | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.ranks is None or self.ranks.is_first

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them, if they have other plans, data or checkpoints, or share a
                GPU.
        """
        plan = self.planned.plan
        facts = {"plan": plan.to_json(), "data": fingerprint(self.data.tables)}
        check_alike(ranks, facts | {"checkpoint": written_at(self.start.saved_at)})
        check_one_gpu_per_rank(ranks, gpu_identity(device_of_rank(plan, ranks.launch)))


def prepare(config: Config, ranks: Ranks | None = None) -> Prepared:
    """Build and check all that a run needs, before it begins.

    Args:
        config: the run's settings.
        ranks: of the run, if this process is one of many; nothing here waits for other ranks.

    Raises:
        UsageError: a setting, the data or the checkpoint cannot work.
    """
    quieten_lightning()
    check_trainer(config)
    world_size = None if ranks is None else ranks.world_size
    data = _data_of(config, _replica(config, ranks))
    check_memory(config, 1 if world_size is None else world_size // config.data_parallel)
    planned = build_plan(config, data.widths, check_exists=True, n_ranks=world_size).planned
    blocks = None
    if ranks is not None:
        # Each rank makes its plan, and all take the first one that is ready.
        made = planned.plan.to_json()
        planned = replace(planned, plan=Plan.from_json(ranks.shared_text("plan", lambda: made)))
        rank_map = RankMap(planned.plan, planned.plan.data_parallel, ranks.world_size)
        device_of_rank(planned.plan, ranks.launch)
        blocks = rank_map.blocks(ranks.rank)
    left_open, config = config, settled(config, planned.plan)
    if config.data_parallel != left_open.data_parallel:
        data = _data_of(config, _replica(config, ranks))
    rss_before_bytes = peak_rss_bytes()
    module = build_module(config, data.widths, blocks)
    start = build_start(left_open, module, data, checks=ranks is None or ranks.is_first)
    length = run_length(config, data, start.done)
    check_rates(config, length)
    start = start.with_rate(config, module, length.n_steps)
    validated = data.evaluation_windows("validation", length.n_validation_batches)
    errors = data.dataset("validation").naive_errors(validated)
    check_scaled_errors(config, is_known=bool((errors > 0).any()))
    repeated = repeat_last(data.dataset("validation"), validated) if len(validated) else None
    tested = data.evaluation_windows("test", length.n_test_batches)
    baselines = data.baselines("test", tested) if len(tested) else {}
    return Prepared(
        config,
        left_open,
        data,
        module,
        planned,
        start,
        validated,
        {} if repeated is None else {"repeat_last": repeated},
        tested,
        baselines,
        rss_before_bytes,
        ranks,
    )


def _data_of(config: Config, replica: int) -> SeriesDataModule:
    data = build_data(config, SeriesDataModule, replica, accelerator_kind() is not None)
    describe_as_before(config, data)
    return data


def _replica(config: Config, ranks: Ranks | None) -> int:
    """Return the replica that this process belongs to."""
    if ranks is None:
        return 0
    return ranks.rank // ranks_per_replica(config.data_parallel, ranks.world_size)
