"""The results of a run, epoch by epoch: mean training loss, validation, rate, time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from gru_parallel.training.strategy import n_rows_of

_MOST_PENDING = 100
"""Number of losses that stay on their device: to fetch each would block the host every step."""


@dataclass(frozen=True)
class EpochResult:
    """The results at the end of an epoch, or of a validation within one.

    Attributes:
        epoch: counted from 0.
        step: of the optimiser, in the whole run.
        is_end: whether the epoch ends here.
        train_loss: mean over the windows trained on in the epoch; NaN if there were none.
        validation: metrics of the validation that ended here, like {"val/loss": 0.1}; empty
            if none did.
        is_best: whether this validation has the lowest loss so far.
        rate: learning rate of the last step; NaN before the first.
        seconds: since the epoch began, or was resumed.
    """

    epoch: int
    step: int
    is_end: bool
    train_loss: float
    validation: Mapping[str, float]
    is_best: bool
    rate: float
    seconds: float


Listener = Callable[[EpochResult], None]


class EpochRecord(pl.Callback):
    """Reports the results of each epoch and validation, on the first rank.

    A run that is resumed within an epoch reports the whole epoch.

    Args:
        listeners: are called with each result.

    Attributes:
        best: loss and epoch of the best validation so far; None before the first.
        last: of the last one.
    """

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.best: tuple[float, int] | None = None
        self.last: tuple[float, int] | None = None
        self._listeners = listeners
        self._epoch = -1
        self._total, self._n_windows = 0.0, 0
        self._pending: list[tuple[Tensor, int]] = []
        self._rate = math.nan
        self._start = 0.0
        self._validation: dict[str, float] = {}
        self._is_best = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, also within an epoch."""
        self._fetch()
        return {
            "best": self.best,
            "last": self.last,
            "epoch": self._epoch,
            "total": self._total,
            "n_windows": self._n_windows,
            "rate": self._rate,
            "validation": dict(self._validation),
            "is_best": self._is_best,
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take over the state of a checkpoint, unless it is only tested."""
        state = checkpoint["callbacks"].get(self.state_key)
        if state is None or trainer.state.fn != TrainerFn.FITTING:
            return
        self.best, self._epoch, self._rate = state["best"], state["epoch"], state["rate"]
        self._total, self._n_windows = state["total"], state["n_windows"]
        # Checkpoints of earlier versions do not tell it.
        self.last = state.get("last", self.best)
        # Of a validation that the end of its epoch, not reached yet, is reported with.
        self._validation = state.get("validation", {})
        self._is_best = state.get("is_best", False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, also for an epoch that is resumed."""
        self._start = perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch."""
        self._begin(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Begin an epoch that Lightning does not announce.

        It is the one after a checkpoint of the last batch of an epoch.
        """
        self._begin(trainer)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Record the rate of the step: after the batch it is already that of the next one."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of the batch."""
        # Lightning has divided it by the number of accumulated batches.
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._pending.append((loss, n_rows_of(trainer, batch)))
        if len(self._pending) == _MOST_PENDING:
            self._fetch()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a validation within an epoch; one at its end is reported with the epoch."""
        if trainer.sanity_checking:
            return
        named = trainer.callback_metrics.items()
        self._validation = {name: float(value) for name, value in named if name.startswith("val/")}
        loss = self._validation["val/loss"]
        self.last = loss, trainer.current_epoch
        self._is_best = self.best is None or loss < self.best[0]
        if self._is_best:
            self.best = self.last
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._report(trainer, is_end=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch."""
        self._report(trainer, is_end=True)

    def _begin(self, trainer: pl.Trainer) -> None:
        if trainer.current_epoch == self._epoch:
            return
        self._epoch = trainer.current_epoch
        self._total, self._n_windows = 0.0, 0
        self._start = perf_counter()

    def _report(self, trainer: pl.Trainer, *, is_end: bool) -> None:
        self._fetch()
        result = EpochResult(
            trainer.current_epoch,
            trainer.global_step,
            is_end,
            self._total / self._n_windows if self._n_windows else math.nan,
            self._validation,
            self._is_best,
            self._rate,
            perf_counter() - self._start,
        )
        self._validation, self._is_best = {}, False
        if trainer.is_global_zero:
            for listen in self._listeners:
                listen(result)

    def _fetch(self) -> None:
        for loss, n_windows in self._pending:
            self._total += float(loss) * n_windows
            self._n_windows += n_windows
        self._pending.clear()
