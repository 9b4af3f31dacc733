"""The training loader: its order depends on (seed, epoch) alone, and it can be resumed."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from gru_parallel.data.stream_batches import StreamBatches
from gru_parallel.data.windows import Batch
from gru_parallel.errors import UsageError


class EpochSampler(Sampler[int]):
    """Numbers of the items to fetch, in an order that depends on (seed, epoch) alone."""

    def __init__(self, n_items: int, seed: int, *, draws: bool) -> None:
        """Start at epoch 0.

        Args:
            n_items: number of items per epoch.
            seed: of the order, not negative.
            draws: whether the order is drawn here. If not, the items are those of `StreamBatches`,
                which draws their order itself and counts them through all epochs.
        """
        self.n_items = n_items
        self.seed = seed
        self.epoch = 0
        self._draws = draws
        self._n_miscounted_epochs = 0

    def __len__(self) -> int:
        """Number of items per epoch."""
        return self.n_items

    def __iter__(self) -> Iterator[int]:
        """The numbers of this epoch."""
        if self._draws:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n_items)
            return iter(order.tolist())
        first = self.epoch * self.n_items
        return iter(range(first, first + self.n_items))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; the Trainer calls this before each."""
        self.epoch = epoch - self._n_miscounted_epochs

    def resume(self, epoch: int) -> None:
        """Number the present epoch `epoch`, whatever number the Trainer gave it.

        When Lightning 2.6 resumes with max_steps from a checkpoint of the end of an epoch, it
        counts an epoch without batches, and the order would skip one. With a `SeriesModule` it
        does not.
        """
        self._n_miscounted_epochs += self.epoch - epoch
        self.epoch = epoch


class ResumableLoader(DataLoader[Batch]):
    """A loader whose position in the epoch is saved in the Trainer's checkpoints.

    The Trainer, not the loader, knows how many batches have been trained on: not one that had only
    been fetched when an interrupt came. So the loader asks, with `n_batches_done`.
    """

    # An attribute and not an argument: Lightning rebuilds loaders from DataLoader's own arguments.
    n_batches_done: Callable[[], int] | None = None
    _loaded: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # DataLoader promises its own iterator class
        """The remaining batches of this epoch.

        A generator, because Lightning asks for the iterator before it sets the epoch.
        """
        n_to_skip = 0
        if self._loaded is not None:
            n_to_skip = self._loaded["n_batches_done"]
            if isinstance(self.sampler, EpochSampler):
                self.sampler.resume(self._loaded["epoch"])
            self._loaded = None
        yield from islice(super().__iter__(), n_to_skip, None)

    def state_dict(self) -> dict[str, Any]:
        """The position of the next batch, and the settings that give it its meaning."""
        if self._loaded is not None:
            return self._loaded
        n_done = 0 if self.n_batches_done is None else self.n_batches_done()
        n_epochs, n_batches_done = divmod(n_done, len(self))
        epoch = getattr(self.sampler, "epoch", 0) + n_epochs
        return {"epoch": epoch, "n_batches_done": n_batches_done, "order": self._order()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position that `state_dict` saved, for the next iteration only.

        Raises:
            UsageError: it is in the middle of an epoch of other batches.
        """
        # Checkpoints of version 0.1 do not name the order: there was only one.
        saved, present = {"data.order": "shuffled", **state["order"]}, self._order()
        for setting, value in present.items():
            if state["n_batches_done"] and saved[setting] != value:
                raise UsageError(
                    f"ckpt_path was written in the middle of an epoch with {setting}="
                    f"{saved[setting]}, and this run has {setting}={value}; keep {saved[setting]}, "
                    "or resume from a checkpoint written at the end of an epoch."
                )
        self._loaded = state

    def _order(self) -> dict[str, Any]:
        """The settings that decide which windows a batch holds, by the names that users know.

        The number of replicas is not one of them: a run resumes with any number.
        """
        streams = self.dataset if isinstance(self.dataset, StreamBatches) else None
        windows = self.dataset if streams is None else streams.windows
        return {
            "data.order": "shuffled" if streams is None else "streams",
            "data.batch_size": self.batch_size if streams is None else streams.batch_size,
            "seed": getattr(self.sampler, "seed", None),
            "the number of training windows": len(windows),  # type: ignore[arg-type]  # a map-style data set has a length
        }


def leave_signals_to_trainer(worker: int) -> None:
    """Remove a worker from the process group of the run.

    Terminals and torchrun send the signals that end a run to the whole group; but a run that ends
    in order needs its workers until then.

    Args:
        worker: its number, which is not used.
    """
    del worker
    if hasattr(os, "setpgrp"):
        os.setpgrp()
