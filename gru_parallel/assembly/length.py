"""The length of a run in batches, steps and epochs, known before it begins."""

from __future__ import annotations

from dataclasses import dataclass

from gru_parallel.config.schema import Config
from gru_parallel.config.trainer_section import TrainerConfig
from gru_parallel.data.series_outline import SeriesOutline
from gru_parallel.errors import UsageError
from gru_parallel.training.progress import Progress, steps_of_run


@dataclass(frozen=True)
class RunLength:
    """How long a run is at most.

    Attributes:
        n_steps: of the optimiser; None for a run without a known end.
        n_epochs: of the run; None likewise.
        n_validation_batches: number of batches that are validated on, the first ones; 0 for no
            validation.
        n_test_batches: number of batches that are tested, the first ones; 0 for no test.
    """

    n_steps: int | None
    n_epochs: int | None
    n_validation_batches: int
    n_test_batches: int


def run_length(config: Config, data: SeriesOutline, done: Progress | None = None) -> RunLength:
    """Compute the length of a run, and check that it has as many batches as its settings ask for.

    Args:
        config: the run's settings.
        data: of the run.
        done: progress of the checkpoint that the run is resumed from.

    Raises:
        UsageError: a limit leaves no batch, or a validation comes after more batches than an epoch
            has, or a step of the optimiser takes more.
    """
    trainer = config.trainer
    if trainer.fast_dev_run:
        n_batches = int(trainer.fast_dev_run)
        n_steps = -(-n_batches // trainer.accumulate_grad_batches)
        return RunLength(
            n_steps, 1, _n_validation_batches(config, data), n_test_batches(config, data)
        )
    n_batches = _limited("train", data.n_batches("training"), "training", trainer)
    if trainer.accumulate_grad_batches > n_batches:
        raise UsageError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} exceeds the"
            f" {n_batches} training batches of an epoch, which ends with a step; use"
            f" trainer.accumulate_grad_batches <= {n_batches}, or a smaller data.batch_size."
        )
    n_validated = _n_validation_batches(config, data)
    if n_validated:
        _check_interval(trainer, n_batches)
    n_tested = n_test_batches(config, data)
    return RunLength(*_n_steps_and_epochs(trainer, n_batches, done), n_validated, n_tested)


def n_test_batches(config: Config, data: SeriesOutline) -> int:
    """Return the number of batches that are tested, the first ones; 0 for no test.

    Raises:
        UsageError: a limit leaves no batch.
    """
    return _n_evaluated("test", "test", config.no_test, config.trainer, data)


def _n_validation_batches(config: Config, data: SeriesOutline) -> int:
    return _n_evaluated("val", "validation", config.no_validation, config.trainer, data)


def _n_evaluated(
    name: str, part: str, left_out_by: str | None, trainer: TrainerConfig, data: SeriesOutline
) -> int:
    """Return the number of batches of a part that are evaluated."""
    n_batches = data.n_batches(part)
    if trainer.fast_dev_run:
        return min(int(trainer.fast_dev_run), n_batches)
    return 0 if left_out_by is not None else _limited(name, n_batches, part, trainer)


def _limited(name: str, n_batches: int, part: str, trainer: TrainerConfig) -> int:
    """Return the number of batches within a limit."""
    limit = getattr(trainer, f"limit_{name}_batches")
    setting = f"trainer.limit_{name}_batches"
    if trainer.overfit_batches and name != "test":
        limit, setting = trainer.overfit_batches, "trainer.overfit_batches"
    if limit is None:
        return n_batches
    n_left = int(n_batches * limit) if isinstance(limit, float) else min(limit, n_batches)
    if n_left == 0:
        batches = f"none of the {n_batches} {part} batches"
        if n_batches == 1:
            batches = f"nothing of the one {part} batch"
        raise UsageError(
            f"{setting}={limit} leaves {batches}; use a larger share, or a whole number of batches."
        )
    return n_left


def _check_interval(trainer: TrainerConfig, n_batches: int) -> None:
    interval = trainer.val_check_interval
    if not isinstance(interval, int) or trainer.check_val_every_n_epoch is None:
        return
    if interval > n_batches:
        raise UsageError(
            f"trainer.val_check_interval={interval} exceeds the {n_batches} training batches of an"
            f" epoch; use trainer.val_check_interval <= {n_batches}, or count batches across epochs"
            " with trainer.check_val_every_n_epoch=null."
        )


def _n_steps_and_epochs(
    trainer: TrainerConfig, n_batches: int, done: Progress | None
) -> tuple[int | None, int | None]:
    n_epochs = trainer.max_epochs
    if n_epochs is None:
        # Lightning's default if nothing else ends a run.
        n_epochs = 1000 if trainer.max_steps == -1 and not trainer.max_time else -1
    n_accumulated = trainer.accumulate_grad_batches
    n_steps = steps_of_run(n_batches, n_accumulated, n_epochs, trainer.max_steps, done)
    if n_steps == -1:
        return None, None
    before = Progress(0, 0, 0) if done is None else done
    steps_of_epoch = -(-n_batches // n_accumulated)
    return n_steps, before.epochs + -(-(n_steps - before.steps) // steps_of_epoch)
