"""`python -m gru_parallel.train`: plan, train, test, report."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig
from rich.console import Console

from gru_parallel.build import (
    Part,
    Planned,
    build_data,
    build_module,
    build_plan,
    build_trainer,
    check_checkpoint,
    check_memory,
    check_rates,
    check_trainer,
    run_length,
)
from gru_parallel.cli import TERMINATED, fail, run_under_hydra, write_resolved
from gru_parallel.config import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.engine.world import check_world_size, device_of_rank, ranks_of_replica
from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.ranks import Ranks, check_alike, check_one_gpu_a_rank, gpu_identity
from gru_parallel.report import (
    Summary,
    draw_timeline,
    plan_table,
    predicted_timeline,
    results_table,
    write_summary,
    write_trace,
)
from gru_parallel.training import SeriesModule
from gru_parallel.training.best_and_last import written_checkpoints
from gru_parallel.training.step_clock import StepClock


@dataclass(frozen=True)
class Prepared:
    """A run that has passed every check and has not begun."""

    config: Config
    data: SeriesDataModule
    module: SeriesModule
    planned: Planned
    baselines: dict[str, dict[str, float]]
    ranks: Ranks | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.ranks is None or self.ranks.is_first

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can see.

        Raises:
            UsageError: on all of them, if they have other plans or data, or share a GPU.
        """
        plan = self.planned.plan
        parts = ("training", "validation", "test")
        n_windows = {f"number of {p} windows": str(len(self.data.dataset(p))) for p in parts}
        check_alike(ranks, {"plan": plan.to_json(), **n_windows})
        check_one_gpu_a_rank(ranks, gpu_identity(device_of_rank(plan, ranks.launch)))


def prepare(config: Config, ranks: Ranks | None = None) -> Prepared:
    """Build all that a run needs and that can be checked before it.

    Args:
        config: the run's settings.
        ranks: of the run, if this process is one of many; nothing here waits for another.

    Raises:
        UsageError: a setting, the data or the checkpoint to go on from cannot work.
    """
    _quieten_lightning()
    check_trainer(config)
    n_ranks = None if ranks is None else ranks_of_replica(config.data_parallel, ranks.world_size)
    data = build_data(config, 0 if ranks is None or n_ranks is None else ranks.rank // n_ranks)
    planned = build_plan(
        config, data.n_channels, data.n_targets, check_exists=True, n_ranks=n_ranks
    )
    part = None
    if ranks is not None:
        check_world_size(planned.plan, config.data_parallel, ranks.world_size)
        device_of_rank(planned.plan, ranks.launch)
        part = Part.of_rank(planned.plan, ranks.rank)
    check_rates(config, run_length(config, data))
    check_memory(config, planned, part)
    module = build_module(config, data.n_channels, data.n_targets, part)
    if config.ckpt_path is not None:
        check_checkpoint(config.ckpt_path, module, data)
    baselines = {name: asdict(score) for name, score in data.baselines().items()}
    return Prepared(config, data, module, planned, baselines, ranks)


def run(prepared: Prepared, composed: DictConfig, folder: Path) -> int:
    """Train and test in `folder`, and print and write what came out; returns the exit status."""
    console = Console(quiet=not prepared.is_first)
    planned = prepared.planned
    console.print(plan_table(planned.plan, planned.block_costs, planned.cluster))
    if prepared.is_first:
        write_resolved(composed, folder / "config.yaml")
        (folder / "plan.json").write_text(planned.plan.to_json() + "\n", encoding="utf-8")
    clock = StepClock()
    trainer = build_trainer(
        prepared.config, planned.plan, folder, clock, data=prepared.data, ranks=prepared.ranks
    )
    try:
        trainer.fit(prepared.module, prepared.data, ckpt_path=prepared.config.ckpt_path)
        best, last = written_checkpoints(trainer)
        metrics = trainer.test(prepared.module, prepared.data, ckpt_path=best, verbose=False)[0]
    except EndOfRunError as error:
        return fail(error, error.status) if prepared.is_first else error.status
    except MisconfigurationException as error:
        message = " ".join(str(error).split())
        raise UsageError(f"trainer: Lightning refuses the settings: {message}") from error
    except SIGTERMException:
        return fail("Stopped by SIGTERM before the first step.", TERMINATED)
    except SystemExit as error:
        # So Lightning ends at a Ctrl-C that nobody has taken over.
        raise KeyboardInterrupt from error
    if prepared.is_first:
        _report(prepared, trainer, clock, dict(metrics), (best, last), folder, console)
    return 0


def _report(
    prepared: Prepared,
    trainer: Trainer,
    clock: StepClock,
    metrics: dict[str, float],
    checkpoints: tuple[str | None, str | None],
    folder: Path,
    console: Console,
) -> None:
    planned = prepared.planned
    plan = planned.plan
    summary = Summary(
        test_metrics={name: metrics[f"test/{name}"] for name in ("mse", "mae")},
        baselines=prepared.baselines,
        n_parameters=sum(p.numel() for p in prepared.module.parameters() if p.requires_grad),
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        step_ms=clock.step_ms,
        samples_per_s=clock.samples_per_s,
        predicted_bubble=predicted_timeline(plan, planned.block_costs, planned.cluster).bubble,
        measured_bubble=None if clock.timeline is None else clock.timeline.bubble,
        best_checkpoint=checkpoints[0],
        last_checkpoint=checkpoints[1],
    )
    write_summary(summary, folder / "summary.json")
    if clock.timeline is not None:
        devices = [stage.device_text for stage in plan.stages]
        title = f"One training step, {plan.schedule}"
        draw_timeline(clock.timeline, folder / "timeline.png", title, devices)
        write_trace(clock.timeline, folder / "trace.json", devices)
    console.print(results_table(summary))
    console.print(f"Folder of the run: {folder}", soft_wrap=True, highlight=False)


def _quieten_lightning() -> None:
    """Leave out what Lightning says to everybody, whatever the run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        "The '.*' does not have many workers",
        "GPU available but not used",
        "The number of training batches .* is smaller than the logging interval",
        ".*isinstance\\(treespec, LeafSpec\\)` is deprecated",
        "Checkpoint directory .* exists and is not empty",
    ):
        warnings.filterwarnings("ignore", message)


if __name__ == "__main__":
    sys.exit(run_under_hydra(prepare, run))
