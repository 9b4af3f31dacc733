"""The models whose memory is measured, each with its way of taking a training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.memory.cases import BATCH_SIZE, HIDDEN_SIZE, N_CHANNELS, NUM_LAYERS, Case, Kind
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, StepHead, Windows


class WholeSubject:
    """Plain PyTorch: one `nn.GRU` and a linear head at every step; the batch is in memory.

    Args:
        n_steps: time steps of the sequences.

    Attributes:
        peak_cells: a pipeline has some.
    """

    peak_cells: tuple[int, ...] = ()

    def __init__(self, n_steps: int) -> None:
        self._gru = nn.GRU(N_CHANNELS, HIDDEN_SIZE, NUM_LAYERS, batch_first=True)
        self._head = nn.Linear(HIDDEN_SIZE, 1)
        self._x, self._y = _batch(n_steps)

    def step(self) -> None:
        """Take one training step, forward and backward."""
        outputs, _ = self._gru(self._x)
        nn.functional.mse_loss(self._head(outputs), self._y).backward()

    def tensors(self) -> list[Tensor]:
        """Return what is in memory before the step."""
        return [self._x, self._y, *self._gru.parameters(), *self._head.parameters()]


class PipelineSubject:
    """The threads engine with its workers running; the batch is in memory.

    Args:
        case: gives the plan.
    """

    def __init__(self, case: Case) -> None:
        stack = GRUStack(N_CHANNELS, HIDDEN_SIZE, NUM_LAYERS, core=case.core)
        self._model = StackModel(nn.Identity(), stack, StepHead(HIDDEN_SIZE, 1))
        self._engine = ThreadEngine(self._model, case.plan, LOSSES["mse"])
        self._engine.open()
        self._x, self._y = _batch(case.n_steps)

    @property
    def peak_cells(self) -> tuple[int, ...]:
        """For each stage, the most cells whose activations were alive at once."""
        return self._engine.peak_cells

    def step(self) -> None:
        """Take one training step, forward and backward."""
        self._engine.train_step(Windows(self._x, self._y)).backward()

    def tensors(self) -> list[Tensor]:
        """Return what is in memory before the step."""
        return [self._x, self._y, *self._model.parameters()]


def make_subject(case: Case) -> WholeSubject | PipelineSubject:
    """Build what a case measures, the batch included."""
    torch.manual_seed(0)
    return WholeSubject(case.n_steps) if case.kind is Kind.WHOLE else PipelineSubject(case)


def _batch(n_steps: int) -> tuple[Tensor, Tensor]:
    """Draw sequences, (batch, time, channels), and one target per step, (batch, time, 1)."""
    return torch.randn(BATCH_SIZE, n_steps, N_CHANNELS), torch.randn(BATCH_SIZE, n_steps, 1)
