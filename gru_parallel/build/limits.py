"""Which of the test windows a run is tested on: trainer.limit_test_batches and fast_dev_run."""

from __future__ import annotations

import torch
from torch import Tensor

from gru_parallel.config import Config, TrainerConfig
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError


def windows_to_test(config: Config, data: SeriesDataModule) -> Tensor:
    """Return the windows that the test will see.

    Args:
        config: the run's settings, of which Lightning takes those of the trainer.
        data: of the run.

    Returns:
        Their indices in the test part, int64 of shape `(windows,)`; of no windows where there is to
        be no test.

    Raises:
        UsageError: the limit is a share of less than one batch.
    """
    n_batches = _n_batches(config.trainer, data.n_evaluation_batches("test"))
    if n_batches == 0:
        return torch.empty(0, dtype=torch.long)
    return data.evaluation_windows("test", n_batches)


def _n_batches(trainer: TrainerConfig, n_all: int) -> int:
    """Count batches as Lightning does: a whole number is one of batches, any other a share."""
    limit = int(trainer.fast_dev_run) or trainer.limit_test_batches
    if limit is None:
        return n_all
    if isinstance(limit, int):
        return min(limit, n_all)
    if 0 < limit * n_all < 1:
        raise UsageError(
            f"trainer.limit_test_batches={limit:g} is less than one of the {n_all} test batches;"
            " use a number of batches, such as 1, or 0 for no test."
        )
    return int(limit * n_all)
