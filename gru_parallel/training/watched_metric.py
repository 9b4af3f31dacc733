"""Moves a learning-rate schedule that watches a metric, such as ReduceLROnPlateau."""

from __future__ import annotations

from typing import Any

from gru_parallel.training.optimizer_checks import check_watched


class WatchedMetric:
    """What the schedules of a run that watch a metric are moved by.

    Args:
        name: of the metric.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def move_schedules(self, trainer: Any) -> None:
        """Move the schedules that are due at the end of this epoch, unless it is cut short.

        Args:
            trainer: Lightning's, at the end of an epoch.

        Raises:
            UsageError: the metric is not finite.
        """
        is_whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        metric = trainer.callback_metrics.get(self.name)
        for config in trainer.lr_scheduler_configs:
            is_due = (trainer.current_epoch + 1) % config.frequency == 0
            watches = config.interval == "epoch" and config.reduce_on_plateau
            if is_whole and watches and is_due and metric is not None:
                check_watched(self.name, metric)
                config.scheduler.step(metric)
