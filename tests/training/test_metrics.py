"""Metrics over ranks: the same bits, however many ranks a replica has."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import (
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    SymmetricMeanAbsolutePercentageError,
)

from gru_parallel.training.metrics import MeanLoss, gather_states

N_REPLICAS = 3
KINDS = [
    MeanLoss,
    MeanSquaredError,
    MeanAbsoluteError,
    SymmetricMeanAbsolutePercentageError,
]


def over_ranks(kind: type[Metric], n_ranks: int, seed: int) -> Tensor:
    """Return a metric over replicas of so many ranks, of which the last measures."""
    generator = torch.Generator().manual_seed(seed)
    shares = [kind() for _ in range(N_REPLICAS * n_ranks)]
    for share in shares[n_ranks - 1 :: n_ranks]:
        errors = torch.rand(7, generator=generator) * 10
        measured: tuple[Any, Any] = (errors, torch.zeros(7))
        share.update(*((errors.sum(), 7) if kind is MeanLoss else measured))
    metric = shares[0]

    def gather(state: Tensor, group: Any = None) -> list[Tensor]:
        del group
        name = next(name for name in metric._reductions if getattr(metric, name) is state)
        return [getattr(share, name) for share in shares]

    gather_states(metric, gather)
    metric.distributed_available_fn = lambda: True
    value: Tensor = metric.compute()
    return value


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_is_the_same_bits_however_many_ranks_a_replica_has(kind: type[Metric]) -> None:
    for seed in range(20):
        expected = over_ranks(kind, 1, seed)
        assert [over_ranks(kind, n_ranks, seed) for n_ranks in (2, 4)] == [expected] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_still_accumulates_over_batches(kind: type[Metric]) -> None:
    plain, gathering = kind(), kind()
    gather_states(gathering, lambda state, **_: [state])
    for batch in (torch.arange(3.0), torch.arange(5.0)):
        measured = (
            (batch.sum(), len(batch)) if kind is MeanLoss else (batch, torch.zeros(len(batch)))
        )
        assert gathering(*measured) == plain(*measured)

    assert gathering.compute() == plain.compute()
