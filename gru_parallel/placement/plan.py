"""Plan: which block runs on which device, and the grid that the schedule cuts the batch into.

A plan holds names and counts only. It knows no costs, no tensors and no schedule's actions.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TypeVar

from gru_parallel.errors import UsageError

PLAN_VERSION = 1

Value = TypeVar("Value", int, str)


@dataclass(frozen=True)
class StagePlan:
    """The consecutive blocks that one stage runs, and its device.

    Attributes:
        device: name of the device, like "cuda:0" or "cpu:1".
        first_block: index of the stage's first block.
        n_blocks: number of blocks, at least one.
        reverse_device: where the reverse direction of bidirectional blocks runs; None for `device`.
    """

    device: str
    first_block: int
    n_blocks: int
    reverse_device: str | None = None

    def __post_init__(self) -> None:
        if not self.device:
            raise UsageError(
                f"the stage that starts at block {self.first_block} names no device; "
                "give one, like 'cuda:0'."
            )
        if self.first_block < 0:
            raise UsageError(
                f"first_block={self.first_block} of the stage on {self.device} is negative; "
                "blocks are counted from 0."
            )
        if self.n_blocks < 1:
            raise UsageError(
                f"n_blocks={self.n_blocks} leaves the stage on {self.device} without a block; "
                "give it at least one, or leave the stage out."
            )

    @property
    def device_text(self) -> str:
        """The device as a device map writes it: "cuda:0", or "cuda:0+cuda:1" for two."""
        return "+".join(self.devices)

    @property
    def devices(self) -> tuple[str, ...]:
        """The device, and that of the reverse direction where it has one of its own."""
        return (self.device,) if self.reverse_device is None else (self.device, self.reverse_device)

    @property
    def blocks(self) -> range:
        """The indices of the stage's blocks."""
        return range(self.first_block, self.first_block + self.n_blocks)


@dataclass(frozen=True)
class Plan:
    """Everything that a run needs to know about where and in what pieces it computes.

    Attributes:
        num_layers: layers of the whole stack.
        layers_per_block: layers of each block; the last block may hold fewer.
        stages: the stages in order, together holding every block once.
        schedule: name of the schedule.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        truncate: chunks after which back-propagation through time is cut; None for nowhere.

    Raises:
        UsageError: a size is not positive, or the stages leave a gap, overlap or do not end with
            the last block.
    """

    num_layers: int
    layers_per_block: int
    stages: tuple[StagePlan, ...]
    schedule: str
    n_micro_batches: int
    n_chunks: int
    truncate: int | None = None

    def __post_init__(self) -> None:
        _require_positive("model.num_layers", self.num_layers)
        _require_positive("model.layers_per_block", self.layers_per_block)
        _require_positive("schedule.n_micro_batches", self.n_micro_batches)
        _require_positive("schedule.n_chunks", self.n_chunks)
        if self.truncate is not None:
            _require_positive("schedule.truncate", self.truncate)
        if not self.schedule:
            raise UsageError("the plan names no schedule; name one, like schedule=gpipe.")
        _require_contiguous(self.stages, self.n_blocks)

    @property
    def n_stages(self) -> int:
        """The number of stages."""
        return len(self.stages)

    @property
    def n_blocks(self) -> int:
        """The number of blocks of the whole stack."""
        return count_blocks(self.num_layers, self.layers_per_block)

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each stage, in order; a device that carries several stages is repeated."""
        return tuple(stage.device for stage in self.stages)

    @property
    def all_devices(self) -> tuple[str, ...]:
        """Every device of the plan, each once; those of reverse directions included."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.devices))

    def block_layers(self, block: int) -> range:
        """The layers of one block.

        Args:
            block: index of the block.

        Returns:
            Indices of its layers.

        Raises:
            IndexError: the plan has no such block.
        """
        if not 0 <= block < self.n_blocks:
            raise IndexError(f"block {block} is outside the plan's {self.n_blocks} blocks")
        first = block * self.layers_per_block
        return range(first, min(first + self.layers_per_block, self.num_layers))

    def stage_layers(self, stage: int) -> range:
        """The layers of one stage.

        Args:
            stage: index of the stage.

        Returns:
            Indices of the layers of all its blocks.

        Raises:
            IndexError: the plan has no such stage.
        """
        if not 0 <= stage < self.n_stages:
            raise IndexError(f"stage {stage} is outside the plan's {self.n_stages} stages")
        blocks = self.stages[stage].blocks
        return range(self.block_layers(blocks[0]).start, self.block_layers(blocks[-1]).stop)

    def to_json(self) -> str:
        """Write the plan as indented JSON that `from_json` reads back to an equal plan."""
        return json.dumps({"version": PLAN_VERSION, **asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan that `to_json` wrote.

        Args:
            text: the JSON.

        Returns:
            The plan.

        Raises:
            UsageError: the text is not JSON, of another version, lacks a key, has one too many,
                holds a value of the wrong type, or describes a plan that cannot be.
        """
        try:
            entries = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"the plan is not JSON: {error}; write it with Plan.to_json."
            ) from error
        _require_version(entries)
        del entries["version"]
        _require_keys("the plan", entries, cls)
        if not isinstance(entries["stages"], list):
            raise UsageError(_wrong_type("the plan", "stages", entries["stages"], "a list"))
        stages = tuple(_read_stage(index, stage) for index, stage in enumerate(entries["stages"]))
        return cls(
            num_layers=_read_int("the plan", entries, "num_layers"),
            layers_per_block=_read_int("the plan", entries, "layers_per_block"),
            stages=stages,
            schedule=_read_str("the plan", entries, "schedule"),
            n_micro_batches=_read_int("the plan", entries, "n_micro_batches"),
            n_chunks=_read_int("the plan", entries, "n_chunks"),
            truncate=_read_optional("the plan", entries, "truncate", _read_int),
        )


def count_blocks(num_layers: int, layers_per_block: int) -> int:
    """The number of blocks that hold `num_layers` layers, the last one possibly not full.

    Args:
        num_layers: layers of the whole stack, at least 1.
        layers_per_block: layers of each block, at least 1.

    Returns:
        num_layers / layers_per_block, rounded up.
    """
    return -(-num_layers // layers_per_block)


def _require_positive(setting: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{setting}={value} is not positive; use {setting} >= 1.")


def _require_contiguous(stages: tuple[StagePlan, ...], n_blocks: int) -> None:
    if not stages:
        raise UsageError(f"the plan has no stage for its {n_blocks} blocks; give at least one.")
    next_block = 0
    for index, stage in enumerate(stages):
        if stage.first_block != next_block:
            fault = "leaves a gap" if stage.first_block > next_block else "overlaps the one before"
            raise UsageError(
                f"stage {index} starts at block {stage.first_block} and {fault}; "
                f"let it start at block {next_block}."
            )
        next_block += stage.n_blocks
    if next_block != n_blocks:
        raise UsageError(
            f"the stages hold {next_block} blocks, but the model has {n_blocks}; "
            "give every block exactly one stage."
        )


def _require_version(entries: object) -> None:
    if not isinstance(entries, dict):
        raise UsageError(
            f"the plan is a JSON {type(entries).__name__}, not an object; "
            "write it with Plan.to_json."
        )
    if "version" not in entries:
        raise UsageError('the plan lacks the key "version"; write it with Plan.to_json.')
    version = entries["version"]
    if type(version) is not int or version != PLAN_VERSION:
        raise UsageError(
            f"the plan has version {version!r}, but only version {PLAN_VERSION} can be read; "
            "make the plan again."
        )


def _require_keys(
    where: str, entries: Mapping[str, object], wanted: type[Plan | StagePlan]
) -> None:
    names = {field.name for field in fields(wanted)}
    for fault, keys in (
        ("lacks", names - entries.keys()),
        ("does not know", entries.keys() - names),
    ):
        if keys:
            listed = ", ".join(sorted(keys))
            raise UsageError(f"{where} {fault}: {listed}; write it with Plan.to_json.")


def _read_stage(index: int, entries: object) -> StagePlan:
    where = f"stage {index} of the plan"
    if not isinstance(entries, dict):
        raise UsageError(f"{where} is {entries!r}, not an object; write it with Plan.to_json.")
    _require_keys(where, entries, StagePlan)
    return StagePlan(
        device=_read_str(where, entries, "device"),
        first_block=_read_int(where, entries, "first_block"),
        n_blocks=_read_int(where, entries, "n_blocks"),
        reverse_device=_read_optional(where, entries, "reverse_device", _read_str),
    )


def _read_int(where: str, entries: Mapping[str, object], key: str) -> int:
    value = entries[key]
    # bool is an int to Python, and `true` is no size.
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(_wrong_type(where, key, value, "a whole number"))
    return value


def _read_str(where: str, entries: Mapping[str, object], key: str) -> str:
    value = entries[key]
    if not isinstance(value, str):
        raise UsageError(_wrong_type(where, key, value, "a text"))
    return value


def _read_optional(
    where: str,
    entries: Mapping[str, object],
    key: str,
    read: Callable[[str, Mapping[str, object], str], Value],
) -> Value | None:
    return None if entries[key] is None else read(where, entries, key)


def _wrong_type(where: str, key: str, value: object, wanted: str) -> str:
    return f"{where} has {key}={value!r}, which is not {wanted}; write it with Plan.to_json."
