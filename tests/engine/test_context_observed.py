"""What watches the operations of one thread sees those of another."""

from threading import RLock, Thread
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from gru_parallel.engine.context import (
    CallerContext,
    Observed,
    apart_from_checkpoints,
    modes_of_this_thread,
)

CPU = [torch.device("cpu")]


class Watching(TorchDispatchMode):
    """Notes what it sees, and how often it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.n_entered = 0

    def __enter__(self) -> Any:
        self.n_entered += 1
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.append(func.name())
        return func(*args, **(kwargs or {}))


def test_an_operation_of_a_worker_is_seen_once_by_each_mode_of_the_caller() -> None:
    x = torch.ones(2)
    with Watching() as outer, Watching() as inner:
        context = CallerContext.capture(CPU)

        def work() -> None:
            with context.observed():
                x.exp()
            x.sin()

        thread = Thread(target=work)
        thread.start()
        thread.join()

    assert outer.seen == inner.seen == ["aten::exp"]
    assert outer.n_entered == inner.n_entered == 1


def test_where_nothing_watches_nothing_is_put_in_between() -> None:
    with CallerContext.capture(CPU).observed():
        assert _get_current_dispatch_mode_stack() == []


def test_an_observer_may_be_observed() -> None:
    with Watching() as outer, Observed([outer], RLock()) as inner:
        assert modes_of_this_thread() == (outer, inner)
        outer.seen.clear()
        torch.ones(2).exp()

    assert "aten::exp" in outer.seen


def test_selective_checkpoints_see_nothing_and_others_see_all() -> None:
    keeping, _ = create_selective_checkpoint_contexts([torch.ops.aten.exp.default])
    with Watching() as watching, keeping:
        with apart_from_checkpoints():
            assert _get_current_dispatch_mode_stack() == [watching]
            torch.ones(2).exp()
        assert _get_current_dispatch_mode_stack() == [watching, keeping]

    assert watching.seen == ["aten::ones", "aten::exp"]
    assert not keeping.storage
