"""The best and the last checkpoint of a run, also where it is resumed from another's checkpoint."""

from __future__ import annotations

import shutil
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from gru_parallel.errors import UsageError
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.epoch_record import EpochRecord


class _RunCheckpoint(ModelCheckpoint, ABC):
    """A checkpoint with a fixed name in the folder of this run.

    From any checkpoint that it loads, even to test it, Lightning would restore the paths of the run
    that wrote it. Here only the files of this run count; see `_resume`.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path.parent, path.stem, enable_version_counter=False, **options)
        # The file that ModelCheckpoint writes.
        self.path = path.resolve()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take over from the run that is resumed what is also true of this one."""
        if trainer.state.fn == TrainerFn.FITTING:
            source = Path(str(trainer.ckpt_path)).resolve()
            state = checkpoint["callbacks"].get(self.state_key, {})
            self._resume(source, state, writes=trainer.is_global_zero)
            # On the other ranks the files are there once the first rank has copied them.
            trainer.strategy.barrier("the checkpoints to resume from")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave everything as `on_load_checkpoint` has made it."""

    @abstractmethod
    def _resume(self, source: Path, state: dict[str, Any], *, writes: bool) -> None:
        """Take over what is true of this run from the callback's `state` in `source`.

        Only one process `writes`, and warns, for all.
        """


class LastCheckpoint(_RunCheckpoint):
    """Writes the checkpoint of the last epoch.

    ModelCheckpoint's save_last does not do: it writes no last one if that is not a best one.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, save_on_train_epoch_end=True)

    def _resume(self, source: Path, state: dict[str, Any], *, writes: bool) -> None:
        # A run that is resumed in its own folder has a last one before it writes its next.
        if source.parent == self.path.parent and self.path.is_file():
            self.best_model_path = str(self.path)


class BestCheckpoint(_RunCheckpoint):
    """Writes the checkpoint with the lowest `val/loss`.

    In a run that is resumed from a checkpoint, the epochs before it count, too: the best of their
    checkpoints is copied into this run's folder at the start.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, monitor="val/loss")

    def _resume(self, source: Path, state: dict[str, Any], *, writes: bool) -> None:
        score = state.get("best_model_score")
        if score is None:
            return
        recorded = Path(state["best_model_path"])
        # First the file beside the checkpoint: the folder may have been moved or copied.
        candidates = (source.parent / self.path.name, recorded)
        best = next((path for path in candidates if self._score(path) == score), None)
        here = self._score(self.path)
        is_same_folder = source.parent == self.path.parent
        if best is None and is_same_folder and here is not None and here < score:
            # The run was killed between its best checkpoint and the last one.
            best, score = self.path, here
        if best is None:
            if writes:
                warnings.warn(
                    f"The best model so far (val/loss {score:.4g}) is no longer in {recorded};"
                    " best.ckpt and the test are of the epochs from now on.",
                    stacklevel=2,
                )
            return
        if writes and best != self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(best, self.path)
        self.best_model_path = self.kth_best_model_path = str(self.path)
        self.best_model_score = self.kth_value = self.current_score = score
        self.best_k_models = {str(self.path): score}

    def _score(self, path: Path) -> Tensor | None:
        """Return the score of a best checkpoint; None if there is no such file."""
        try:
            saved = read_checkpoint(path)
            score: Tensor = saved["callbacks"][self.state_key]["best_model_score"]
        except (UsageError, KeyError):
            return None
        return score


def written_checkpoints(trainer: pl.Trainer) -> tuple[str | None, str | None]:
    """Return the paths of the best and the last checkpoint; None where there is none."""

    def path_of(kind: type[_RunCheckpoint]) -> str | None:
        paths = (c.best_model_path for c in trainer.checkpoint_callbacks if isinstance(c, kind))
        return next(paths, None) or None

    return path_of(BestCheckpoint), path_of(LastCheckpoint)


def best_validation(trainer: pl.Trainer) -> tuple[float, int] | None:
    """Return loss and epoch of the best checkpoint; without checkpoints, of the best validation."""
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, BestCheckpoint) and checkpoint.best_model_score is not None:
            epoch: int = read_checkpoint(checkpoint.path)["epoch"]
            return float(checkpoint.best_model_score), epoch
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's
    return next((each.best for each in callbacks if isinstance(each, EpochRecord)), None)
