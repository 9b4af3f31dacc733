"""Ways to look into, hold up and break the blocks of a model while an engine runs them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from gru_parallel.engine.cells import CellIndex
from gru_parallel.model import Block, DropoutKey, StackModel

WAIT_S = 20.0


@contextmanager
def before_each_cell(
    model: StackModel, block: int, act: Callable[[CellIndex, Tensor], None]
) -> Iterator[None]:
    """Call `act` with the cell and x before each F of a block, in the worker's thread."""
    target: Block = model.gru.gru_blocks[block]
    forward = target.forward
    patch_before = target.__dict__.get("forward")

    def patched(
        x: Tensor, h_0: Tensor, key: DropoutKey | None = None, batch_sizes: object = None
    ) -> tuple[Tensor, Tensor]:
        assert key is not None
        act((key.micro_batch, key.chunk), x)
        return forward(x, h_0, key, batch_sizes)

    target.__dict__["forward"] = patched
    try:
        yield
    finally:
        del target.__dict__["forward"]
        if patch_before is not None:
            target.__dict__["forward"] = patch_before


@contextmanager
def failing_forward(
    model: StackModel, block: int, cell: CellIndex, error: BaseException
) -> Iterator[None]:
    """Make F of one cell raise `error`."""

    def fail(current: CellIndex, x: Tensor) -> None:
        if current == cell:
            raise error

    with before_each_cell(model, block, fail):
        yield


@contextmanager
def failing_backward(
    model: StackModel, block: int, cell: CellIndex, error: BaseException
) -> Iterator[None]:
    """Make B of one cell raise `error`, when it comes to the block's inputs."""

    def raise_error(gradient: Tensor) -> None:
        raise error

    def prepare(current: CellIndex, x: Tensor) -> None:
        if current == cell:
            x.register_hook(raise_error)

    with before_each_cell(model, block, prepare):
        yield
