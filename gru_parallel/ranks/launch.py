"""Launch: what the launcher (torchrun, srun) told this process in its environment."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from gru_parallel.errors import UsageError

NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

REMEDY = (
    "start with torchrun, set {names} for every rank, or unset RANK and WORLD_SIZE for a run"
    " without ranks"
)


@dataclass(frozen=True)
class Launch:
    """What the launcher told this process.

    Attributes:
        rank: of this process, from 0.
        world_size: number of ranks.
        local_rank: of this process among those of its machine.
        local_world_size: number of ranks on this machine.
        master_addr: where the store is.
        master_port: the store's port.
        attempt: how often this machine's launcher has restarted its ranks after a failure.
        uses_agent_store: whether the launcher hosts the store; else rank 0 does.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    master_addr: str
    master_port: int
    attempt: int
    uses_agent_store: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launch | None:
        """Read what the launcher told this process; None where no launcher started it.

        Raises:
            UsageError: some of the variables are missing, are not numbers, or are out of range.
        """
        if "RANK" not in environment and "WORLD_SIZE" not in environment:
            return None
        missing = [name for name in NEEDED if not environment.get(name)]
        if missing:
            raise UsageError(
                f"A rank needs {', '.join(NEEDED)} in its environment; "
                f"{', '.join(missing)} is missing: {REMEDY.format(names=', '.join(missing))}."
            )
        world_size = _number(environment, "WORLD_SIZE", 1)
        local_world_size = _number(environment, "LOCAL_WORLD_SIZE", 1, world_size, default=1)
        return cls(
            rank=_number(environment, "RANK", 0, world_size - 1),
            world_size=world_size,
            local_rank=_number(environment, "LOCAL_RANK", 0, world_size - 1),
            local_world_size=local_world_size,
            master_addr=environment["MASTER_ADDR"],
            master_port=_number(environment, "MASTER_PORT", 1, 65535),
            attempt=_number(environment, "TORCHELASTIC_RESTART_COUNT", 0, default=0),
            uses_agent_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )

    @property
    def address(self) -> str:
        """Where the store is: host and port, joined by a colon."""
        return f"{self.master_addr}:{self.master_port}"

    @property
    def hosts_store(self) -> bool:
        """Whether this rank hosts the store."""
        return self.rank == 0 and not self.uses_agent_store


def _number(
    environment: Mapping[str, str],
    name: str,
    lowest: int,
    highest: float = math.inf,
    default: int | None = None,
) -> int:
    text = environment.get(name)
    if not text and default is not None:
        return default
    with suppress(ValueError):
        if lowest <= (number := int(text or "")) <= highest:
            return number
    allowed = f"of {lowest} or more" if highest == math.inf else f"from {lowest} to {highest}"
    raise UsageError(
        f"{name} must be a whole number {allowed}; it is {text!r}: {REMEDY.format(names=name)}."
    )
