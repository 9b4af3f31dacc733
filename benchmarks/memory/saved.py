"""SavedActivations: the bytes that autograd keeps for backward, counted by its own hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from threading import get_ident
from typing import Any, Self
from unittest.mock import patch

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from gru_parallel.stage.stage_pass import StagePass


class SavedActivations:
    """Counts, while it is open, what autograd saves in this thread and in all F of a pipeline.

    Args:
        known: tensors that are in memory anyway, and so not counted.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        self._known = frozenset(tensor.untyped_storage().data_ptr() for tensor in known)
        self._ledgers: dict[int, _Ledger] = {}
        self._hooks = self._make_hooks()
        forward = StagePass.forward

        def counted(*arguments: Any) -> Any:
            # Hooks are a thread's own, so those of a stage are set in its worker.
            with self._make_hooks():
                return forward(*arguments)

        self._patch = patch.object(StagePass, "forward", counted)

    def __enter__(self) -> Self:
        self._patch.start()
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.__exit__(*error)
        self._patch.stop()

    @property
    def peak_bytes(self) -> int:
        """The peak of each thread, and so of each stage, added up."""
        return sum(ledger.peak_bytes for ledger in self._ledgers.values())

    @property
    def alive_bytes(self) -> int:
        """What is saved now."""
        return sum(ledger.alive_bytes for ledger in self._ledgers.values())

    def _make_hooks(self) -> saved_tensors_hooks:
        ledger = self._ledgers.setdefault(get_ident(), _Ledger(self._known))
        return saved_tensors_hooks(ledger.keep, lambda kept: kept.tensor)


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
        self.ledger, self.tensor = ledger, tensor
        self.storage = tensor.untyped_storage().data_ptr()

    def __del__(self) -> None:
        self.ledger.let_go(self)
