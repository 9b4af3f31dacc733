"""Ways to look into, hold up and break the blocks of a model while an engine runs them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch import Tensor

from gru_parallel.model import BidirectionalBlock, Block, DropoutKey, StackModel
from gru_parallel.schedule import Cell
from gru_parallel.stage.block_section import BlockSection
from gru_parallel.stage.section import Parcel

WAIT_S = 20.0


@contextmanager
def before_each_cell(
    model: StackModel, block: int, act: Callable[[Cell, Tensor], None]
) -> Iterator[None]:
    """Call `act` with the cell and x before each F of a block, in the worker's thread.

    Where the block is joined to others, x is what goes into the first of them.
    """
    target: Block = model.gru.gru_blocks[block]
    kind = type(target)
    forward = kind.forward

    # On the class: engines run stand-ins of the block.
    def patched(
        self: Block,
        x: Tensor,
        h_0: Tensor,
        key: DropoutKey | None = None,
        *others: object,
    ) -> tuple[Tensor, Tensor]:
        # On GPUs the stand-in of several blocks is one.
        if target.first_layer in self.layers:
            assert key is not None
            act((key.micro_batch, key.chunk), x)
        return forward(self, x, h_0, key, *others)

    with patch.object(kind, "forward", patched):
        yield


@contextmanager
def before_each_direction(act: Callable[[int, int], None]) -> Iterator[None]:
    """Call `act` with layer and direction before each F of one, in the thread that runs it."""
    run = BidirectionalBlock.run_direction

    def patched(
        self: BidirectionalBlock, k: int, direction: int, *tensors: Any
    ) -> tuple[Tensor, Tensor]:
        act(self.first_layer + k, direction)
        return run(self, k, direction, *tensors)

    with patch.object(BidirectionalBlock, "run_direction", patched):
        yield


@contextmanager
def failing_forward(
    model: StackModel, block: int, cell: Cell, error: BaseException
) -> Iterator[None]:
    """Make F of one cell raise `error`."""

    def fail(current: Cell, x: Tensor) -> None:
        if current == cell:
            raise error

    with before_each_cell(model, block, fail):
        yield


@contextmanager
def before_each_back(model: StackModel, block: int, act: Callable[[Cell], None]) -> Iterator[None]:
    """Call `act` with the cell before each B of the blocks around one, in the worker's thread."""
    target: Block = model.gru.gru_blocks[block]
    backward = BlockSection.backward

    def patched(self: BlockSection, parcel: Parcel) -> list[Parcel]:
        if any(target.first_layer in block.layers for block in self.states.blocks):
            act(parcel.cell)
        return backward(self, parcel)

    with patch.object(BlockSection, "backward", patched):
        yield


@contextmanager
def failing_backward(
    model: StackModel, block: int, cell: Cell, error: BaseException
) -> Iterator[None]:
    """Make B of one cell raise `error`."""

    def fail(current: Cell) -> None:
        if current == cell:
            raise error

    with before_each_back(model, block, fail):
        yield
