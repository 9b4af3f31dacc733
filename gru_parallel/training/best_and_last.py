"""The best and the last checkpoint of a run, also where it is resumed from another's checkpoint."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from gru_parallel.errors import UsageError
from gru_parallel.run_folder import one_before
from gru_parallel.training.callbacks_of import callbacks_of
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.epoch_record import EpochRecord
from gru_parallel.training.in_place import copy_whole
from gru_parallel.training.progress import Progress, validates_next

_LACKS_GRADIENTS = "lacks_gradients"


class _RunCheckpoint(ModelCheckpoint, ABC):
    """A checkpoint with a fixed name in the folder of this run.

    From any checkpoint that it loads, even to test it, Lightning would restore the paths of the run
    that wrote it. Here only the files of this run count; see `_resume`.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path.parent, path.stem, enable_version_counter=False, **options)
        # The file that ModelCheckpoint writes.
        self.path = path.resolve()
        self._step = -1

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Record the step, to see whether the batch ends with one."""
        self._step = trainer.global_step

    def _is_within_step(self, trainer: pl.Trainer) -> bool:
        """Whether the batch that has ended only adds to gradients, which no checkpoint keeps."""
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return not is_last and trainer.global_step == self._step

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take over from the run that is resumed what is also true of this one."""
        if trainer.state.fn == TrainerFn.FITTING:
            source = Path(str(trainer.ckpt_path)).resolve()
            state = checkpoint["callbacks"].get(self.state_key, {})
            # The first process looks for all: others may see files of a shared folder later.
            found = self._find(source, state) if trainer.is_global_zero else None
            self._resume(source, trainer.strategy.broadcast(found))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave everything as `on_load_checkpoint` has made it."""

    @abstractmethod
    def _find(self, source: Path, state: dict[str, Any]) -> Any:
        """Look for what is true of this run, given the callback's `state` in `source`."""

    @abstractmethod
    def _resume(self, source: Path, found: Any) -> None:
        """Take over what the first process has found."""


class LastCheckpoint(_RunCheckpoint):
    """Writes the checkpoint of the last epoch, and if asked to, some within epochs.

    ModelCheckpoint's save_last does not do: it writes no last one if that is not a best one. Its
    other checkpoints within epochs come while gradients are being accumulated, which a resumed run
    would lack, and take the place of those at the ends of epochs.

    Args:
        path: of the checkpoint.
        every_n_steps: steps of the optimiser from one to the next within an epoch; None for none.
        interval: time from one to the next within an epoch; None for none.
    """

    def __init__(
        self,
        path: Path,
        every_n_steps: int | None = None,
        interval: timedelta | None = None,
    ) -> None:
        super().__init__(path, save_on_train_epoch_end=True)
        self._every_n_steps = every_n_steps
        self._interval = interval
        # Where the latest checkpoint was written, or the training began.
        self._since_step, self._since = 0, 0.0
        self._is_due = False
        # Whether the run is resumed from another checkpoint than this, and has not trained since.
        self._is_behind = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note in each checkpoint whether a run that is resumed from it lacks gradients."""
        checkpoint[_LACKS_GRADIENTS] = self._is_within_step(trainer)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take over the last checkpoint, and say what the one that is loaded lacks."""
        is_fitting = trainer.state.fn == TrainerFn.FITTING
        if is_fitting and trainer.is_global_zero and checkpoint.get(_LACKS_GRADIENTS):
            warnings.warn(
                f"{trainer.ckpt_path} was written between two batches of one step of the optimiser,"
                " whose gradients it does not have: the first step of this run is of the batches"
                " after it alone. That is so where a validation comes there, and the end of a run:"
                " validate every multiple of trainer.accumulate_grad_batches.",
                stacklevel=2,
            )
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        super().on_train_start(trainer, pl_module)
        self._begin(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Write a checkpoint, if it is time to, or after the validation that follows."""
        # The end of the epoch has its own, and a resumed run would lack gradients in between.
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if is_last or self._is_within_step(trainer):
            return
        self._is_due = self._is_time(trainer)
        if self._is_due and not validates_next(trainer):
            self._write(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write a checkpoint that has waited for this validation."""
        if self._is_due and not trainer.sanity_checking:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint of the epoch."""
        super().on_train_epoch_end(trainer, pl_module)
        self._begin(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the checkpoint that a run has missed which was killed just before its last one."""
        if self._is_behind and _steps_of(self.path) < trainer.global_step:
            self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        self._begin(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        self._since_step, self._since, self._is_due = trainer.global_step, time.monotonic(), False
        self._is_behind = False

    def _is_time(self, trainer: pl.Trainer) -> bool:
        every = self._every_n_steps
        if every is not None and trainer.global_step - self._since_step >= every:
            return True
        if self._interval is None:
            return False
        passed = time.monotonic() - self._since >= self._interval.total_seconds()
        # Clocks differ from rank to rank.
        return trainer.strategy.broadcast(passed)

    def _find(self, source: Path, state: dict[str, Any]) -> bool:
        # A run that is resumed in its own folder has a last one before it writes its next.
        return source.parent == self.path.parent and self.path.exists()

    def _resume(self, source: Path, found: bool) -> None:
        if found:
            self.best_model_path = str(self.path)
            self._is_behind = source != self.path


class BestCheckpoint(_RunCheckpoint):
    """Writes the checkpoint with the lowest `val/loss`.

    In a run that is resumed from a checkpoint, the epochs before it count, too: the best of their
    checkpoints is copied into this run's folder when the training begins.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, monitor="val/loss")
        self._epoch: int | None = None
        # To be copied to `path`; None for nothing.
        self._source: Path | None = None

    @property
    def validation(self) -> tuple[float, int] | None:
        """Loss and epoch of the checkpoint that is there; None where there is none."""
        if self.best_model_score is None or self._epoch is None:
            return None
        return float(self.best_model_score), self._epoch

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        # What the file says: to ask it later is to read all of it.
        self._epoch = trainer.current_epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the best checkpoint so far, before another is written."""
        super().on_train_start(trainer, pl_module)
        self._copy(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the best checkpoint, where there was nothing left to train."""
        self._copy(trainer)

    def _copy(self, trainer: pl.Trainer) -> None:
        # Not while the run is restored: Lightning asks for the optimiser's states after it has told
        # the callbacks, and they are read from a folder then, which a copy may move.
        if self._source is not None:
            if trainer.is_global_zero:
                copy_whole(self._source, self.path)
            # The other ranks may ask for the file from here on.
            trainer.strategy.barrier("the best checkpoint of the run that is resumed")
            self._source = None

    def _find(self, source: Path, state: dict[str, Any]) -> tuple[Path, Tensor, int] | None:
        """Return the best checkpoint so far, its score and its epoch."""
        score = state.get("best_model_score")
        if score is None:
            return None
        recorded = Path(state["best_model_path"])
        # First the file beside the checkpoint: the folder may have been moved or copied.
        beside = source.parent / self.path.name
        candidates = (beside, one_before(beside), recorded)
        found = ((path, self._read(path)) for path in candidates)
        best = next(((path, *read) for path, read in found if read and read[0] == score), None)
        if best is None and source.parent == self.path.parent:
            here = self._read(self.path)
            if here is not None and here[0] < score:
                # The run was killed between its best checkpoint and the last one.
                best = self.path, *here
        if best is None:
            warnings.warn(
                f"The best model so far (val/loss {score:.4g}) is no longer in {recorded};"
                " best.ckpt and the test are of the epochs from now on.",
                stacklevel=2,
            )
        return best

    def _resume(self, source: Path, found: tuple[Path, Tensor, int] | None) -> None:
        if found is None:
            return
        path, score, self._epoch = found
        if path != self.path:
            self._source = path
        self.best_model_path = self.kth_best_model_path = str(self.path)
        self.best_model_score = self.kth_value = self.current_score = score
        self.best_k_models = {str(self.path): score}

    def _read(self, path: Path) -> tuple[Tensor, int] | None:
        """Return score and epoch of a best checkpoint; None if there is no such file."""
        try:
            saved = read_checkpoint(path)
            score: Tensor = saved["callbacks"][self.state_key]["best_model_score"]
        except (UsageError, KeyError):
            return None
        return score, saved["epoch"]


def _steps_of(path: Path) -> int:
    """Return the steps that a checkpoint has done; -1 where it cannot be read."""
    try:
        return Progress.of(read_checkpoint(path)).steps
    except UsageError:
        return -1


def written_checkpoints(trainer: pl.Trainer) -> tuple[str | None, str | None]:
    """Return the paths of the best and the last checkpoint; None where there is none."""

    def path_of(kind: type[_RunCheckpoint]) -> str | None:
        paths = (c.best_model_path for c in trainer.checkpoint_callbacks if isinstance(c, kind))
        return next(paths, None) or None

    return path_of(BestCheckpoint), path_of(LastCheckpoint)


def best_validation(trainer: pl.Trainer) -> tuple[float, int] | None:
    """Return loss and epoch of the best checkpoint; without checkpoints, of the best validation."""
    record = next(iter(callbacks_of(trainer, EpochRecord)), None)
    return _best_checkpoint(trainer) or (None if record is None else record.best)


def tested_validation(trainer: pl.Trainer) -> tuple[float, int] | None:
    """Return loss and epoch of the validation of the weights that a run tests in the end.

    They are those of the best checkpoint; without checkpoints, the last ones.
    """
    record = next(iter(callbacks_of(trainer, EpochRecord)), None)
    return _best_checkpoint(trainer) or (None if record is None else record.last)


def _best_checkpoint(trainer: pl.Trainer) -> tuple[float, int] | None:
    checkpoint = next(iter(callbacks_of(trainer, BestCheckpoint)), None)
    return None if checkpoint is None else checkpoint.validation
