"""Moves a learning-rate schedule that watches a metric, such as ReduceLROnPlateau."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gru_parallel.training.optimizer_checks import check_watched


class WatchedMetric:
    """What the schedules of a run that watch a metric are moved by.

    A checkpoint keeps its value: between the last validation of an epoch and the end of the epoch,
    Lightning resumes without it.

    Args:
        name: of the metric.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._resumed: Mapping[str, float] = {}

    def state(self, trainer: Any) -> dict[str, float]:
        """Return the latest value of the run by its name, none before the first."""
        value = self._value(trainer)
        return {} if value is None else {self.name: value}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take over what `state` returned where the run is resumed from, of whatever metric."""
        self._resumed = state

    def move_schedules(self, trainer: Any) -> None:
        """Move the schedules that are due at the end of this epoch, unless it is cut short.

        Args:
            trainer: Lightning's, at the end of an epoch.

        Raises:
            UsageError: the metric is not finite.
        """
        is_whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        metric = self._value(trainer)
        for config in trainer.lr_scheduler_configs:
            is_due = (trainer.current_epoch + 1) % config.frequency == 0
            watches = config.interval == "epoch" and config.reduce_on_plateau
            if is_whole and watches and is_due and metric is not None:
                check_watched(self.name, metric)
                config.scheduler.step(metric)

    def _value(self, trainer: Any) -> float | None:
        metric = trainer.callback_metrics.get(self.name)
        return self._resumed.get(self.name) if metric is None else float(metric)
