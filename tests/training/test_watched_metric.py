"""What a schedule watches is kept in a checkpoint under its name."""

from types import SimpleNamespace

import torch

from gru_parallel.training.watched_metric import WatchedMetric


def test_a_resumed_run_takes_the_value_of_the_metric_that_it_watches_alone() -> None:
    saved = WatchedMetric("val/loss").state(
        SimpleNamespace(callback_metrics={"val/loss": torch.tensor(0.5), "val/mae": 2.0})
    )
    before_validation = SimpleNamespace(callback_metrics={})

    for name, kept in (("val/loss", {"val/loss": 0.5}), ("val/mae", {})):
        resumed = WatchedMetric(name)
        resumed.load_state(saved)

        assert resumed.state(before_validation) == kept
