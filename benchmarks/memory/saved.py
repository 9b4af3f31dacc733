"""SavedActivations: the bytes that are kept for backward: by autograd, and to compute it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from threading import get_ident
from typing import Any, Self
from unittest.mock import patch

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from gru_parallel.stage import recomputation
from gru_parallel.stage.recomputation import Kept
from gru_parallel.stage.stage_pass import StagePass


class SavedActivations:
    """Counts, while it is open, what is saved for backward in this thread and in a pipeline's.

    That is what autograd saves, as its hooks tell, and what recomputation keeps in its place.

    Args:
        known: tensors that are in memory anyway, and so not counted.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        self._known = frozenset(tensor.untyped_storage().data_ptr() for tensor in known)
        self._ledgers: dict[int, _Ledger] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        # B may run F again.
        for name in ("forward", "backward"):
            counted = self._counted(getattr(StagePass, name))
            self._open.enter_context(patch.object(StagePass, name, counted))
        self._open.enter_context(patch.object(recomputation, "Kept", self._keep))
        self._open.enter_context(self._make_hooks())
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def peak_bytes(self) -> int:
        """The peak of each thread, and so of each stage, added up."""
        return sum(ledger.peak_bytes for ledger in self._ledgers.values())

    @property
    def alive_bytes(self) -> int:
        """What is saved now."""
        return sum(ledger.alive_bytes for ledger in self._ledgers.values())

    def _counted(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            # Hooks are a thread's own, so those of a stage are set in its worker.
            with self._make_hooks():
                return run(*arguments)

        return counted

    def _keep(self, *fields: Any) -> Kept:
        kept = Kept(*fields)
        tensors = [each for each in (kept.parcel.tensor, *kept.state) if each is not None]
        # Let go of together with what it counts.
        object.__setattr__(kept, "counted", [self._ledger.keep(tensor) for tensor in tensors])
        return kept

    def _make_hooks(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._ledger.keep, lambda kept: kept.tensor)

    @property
    def _ledger(self) -> _Ledger:
        """That of this thread."""
        return self._ledgers.setdefault(get_ident(), _Ledger(self._known))


class _Ledger:
    """What autograd saved in one thread: each storage once, however many tensors share it."""

    def __init__(self, known: frozenset[int]) -> None:
        self._known = known
        self._n_users: Counter[int] = Counter()
        self.alive_bytes = 0
        self.peak_bytes = 0

    def keep(self, tensor: Tensor) -> _Kept:
        kept = _Kept(self, tensor)
        self._n_users[kept.storage] += 1
        if self._n_users[kept.storage] == 1:
            self._add(kept)
        return kept

    def let_go(self, kept: _Kept) -> None:
        self._n_users[kept.storage] -= 1
        if self._n_users[kept.storage] == 0:
            del self._n_users[kept.storage]
            self._add(kept, sign=-1)

    def _add(self, kept: _Kept, sign: int = 1) -> None:
        if kept.storage not in self._known:
            self.alive_bytes += sign * kept.tensor.untyped_storage().nbytes()
            self.peak_bytes = max(self.peak_bytes, self.alive_bytes)


class _Kept:
    """A saved tensor; autograd lets go of it when it is no longer needed."""

    def __init__(self, ledger: _Ledger, tensor: Tensor) -> None:
        # Detached: outputs come with their graph, which would hold on to them and so to itself.
        self.ledger, self.tensor = ledger, tensor.detach()
        self.storage = tensor.untyped_storage().data_ptr()

    def __del__(self) -> None:
        self.ledger.let_go(self)
