"""What `verify` compares: sizes, lengths, precision, devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import cycle, islice

import torch

from gru_parallel.engine.devices import accelerator_names, existing_devices
from gru_parallel.errors import UsageError

DTYPES = {"float64": torch.float64, "float32": torch.float32}
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""The promise: how far apart results may be, relative to the largest entry."""


@dataclass(frozen=True)
class Settings:
    """The overrides of `python -m gru_parallel.verify`.

    Attributes:
        num_layers: layers of the nn.GRU that is cut.
        hidden_size: features of each layer.
        lengths: time steps of the sequences, repeated until there are `batch_size`.
        batch_size: sequences of a batch.
        dtype: float64 or float32.
        devices: to place stages on, in this order; None for logical CPU devices, and then the
            accelerators, if there are any.
        seed: of weights, sequences and states.
    """

    num_layers: int = 4
    hidden_size: int = 16
    lengths: list[int] = field(default_factory=lambda: [12, 7, 3])
    batch_size: int = 5
    dtype: str = "float64"
    devices: list[str] | None = None
    seed: int = 0

    @property
    def tolerance(self) -> float:
        """How far apart results may be that should be equal."""
        return TOLERANCE[self.dtype]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of all numbers."""
        return DTYPES[self.dtype]

    @property
    def n_steps(self) -> int:
        """Time steps of the longest sequence."""
        return max(self.lengths_of_rows)

    @property
    def lengths_of_rows(self) -> tuple[int, ...]:
        """Time steps of each sequence of the batch."""
        return tuple(islice(cycle(self.lengths), self.batch_size))

    @property
    def device_pools(self) -> list[list[str]]:
        """The devices of one cut's stages, for one cut after another."""
        if self.devices is not None:
            return [self.devices]
        cpus = [name for name in existing_devices() if name.startswith("cpu:")]
        pools = [cpus, list(accelerator_names())]
        return [pool[: self.num_layers] for pool in pools if pool]

    def check(self) -> None:
        """Check the settings.

        Raises:
            UsageError: a number is too small, the dtype is unknown, or a device does not exist.
        """
        if self.num_layers < 2:
            raise UsageError(f"num_layers={self.num_layers} cannot be cut; use 2 or more.")
        for name in ("hidden_size", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)} is not positive; use 1 or more.")
        if not self.lengths or min(self.lengths) < 1:
            raise UsageError(
                f"lengths={_show(self.lengths)} is not a list of lengths; give whole numbers of at"
                " least 1, as in lengths=[12,7,3]."
            )
        if self.dtype not in DTYPES:
            raise UsageError(
                f"dtype={self.dtype} is not a valid choice; use one of {', '.join(DTYPES)}."
            )
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed={self.seed} is not a valid seed; use 0 to {2**32 - 1}.")
        if self.devices is not None:
            _check_devices(self.devices)


def _check_devices(devices: list[str]) -> None:
    if not devices:
        raise UsageError("devices=[] names none; write devices=[cpu:0,cpu:1], or leave it out.")
    existing = existing_devices()
    for index, name in enumerate(devices):
        if name not in existing:
            near = get_close_matches(name, existing, n=1)
            hint = f"did you mean {near[0]}? There are" if near else "use some of"
            raise UsageError(
                f"devices={_show(devices)} names {name}, which does not exist; {hint}"
                f" {', '.join(existing)}."
            )
        if name in devices[:index]:
            raise UsageError(f"devices={_show(devices)} names {name} twice; name each once.")


def _show(values: list[int] | list[str]) -> str:
    return f"[{','.join(map(str, values))}]"
