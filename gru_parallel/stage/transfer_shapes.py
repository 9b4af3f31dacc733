"""TransferShapes: what stages transfer, known from batch and plan: shape and type of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gru_parallel.model.autocast import computing_type
from gru_parallel.schedule import Action, Op
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.stage import StageModules

Shape = tuple[int, ...]


class TransferShapes:
    """Knows what each transfer of a batch carries, so that a receiver can allocate it beforehand.

    A gradient has the shape of its tensor, so a boundary has one shape per cell.

    Args:
        modules: of every stage, in order; of stages on other ranks only the form is read.
        cells: of the batch.
        dtype: of the outputs and states of a block, see `types_out`.
        device: of the rank.
    """

    def __init__(
        self,
        modules: Sequence[StageModules],
        cells: Cells,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._modules = modules
        self._cells = cells
        self._dtype = dtype
        self._device = device

    def carries_tensor(self, action: Action) -> bool:
        """Whether a SEND or RECV carries a tensor; those that close the ring carry none."""
        return self._boundary(action) is not None

    def token(self) -> Tensor:
        """Make the content of a transfer that only gives a signal."""
        return torch.zeros(1, dtype=torch.uint8, device=self._device)

    def room(self, action: Action) -> tuple[Tensor, Tensor | None]:
        """Allocate what a RECV brings.

        Returns:
            tensor: shape (the cell's time, the cell's rows, features), uninitialised.
            state: shape (states, the micro-batch's rows, hidden_size); None if there is none.
        """
        boundary = self._boundary(action)
        assert boundary is not None
        before = self._modules[boundary].blocks[-1]
        steps = self._cells.steps[action.micro_batch][action.chunk]
        shape = (steps.stop - steps.start, self._cells.n_active(action.cell), before.output_size)
        tensor = torch.empty(shape, dtype=self._dtype, device=self._device)
        return tensor, self.room_for_state(action)

    def room_for_state(self, action: Action) -> Tensor | None:
        """Allocate the state that goes with a SEND or RECV; None if there is none."""
        boundary = self._boundary(action)
        is_last = action.chunk == self._cells.n_chunks - 1
        if boundary is None or not is_last or not self._hands_state(boundary):
            return None
        before = self._modules[boundary].blocks[-1]
        shape = (before.n_states, self._cells.n_rows(action.micro_batch), before.hidden_size)
        return torch.zeros(shape, dtype=self._dtype, device=self._device)

    def _hands_state(self, boundary: int) -> bool:
        return self._modules[boundary + 1].blocks[0].h_0 == "previous"

    def _boundary(self, action: Action) -> int | None:
        """The stage before the boundary of a transfer; None for one that closes the ring."""
        down = action.op in (Op.SEND_F, Op.RECV_B)
        boundary = action.stage if down else action.stage - 1
        return boundary if 0 <= boundary < len(self._modules) - 1 else None


def types_out(modules: StageModules, device: torch.device) -> torch.dtype:
    """Return the type of what blocks give out, outputs and states: the one that they compute in.

    Args:
        modules: of a stage of this rank, for the type of the weights.
        device: that the blocks are on.
    """
    is_on = torch.is_autocast_enabled(device.type)
    asked = torch.get_autocast_dtype(device.type) if is_on else None
    return computing_type(modules.blocks[0].some_weight.dtype, asked)
