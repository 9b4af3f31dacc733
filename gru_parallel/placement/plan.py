"""Plan: which block runs on which device, and the grid that model and batch are cut into.

A plan has only names and counts. It knows no costs, no tensors and no actions of schedules.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from gru_parallel.choices import AUTO
from gru_parallel.errors import UsageError, check_positive
from gru_parallel.own_names import check_core
from gru_parallel.placement.grid import Grid

PLAN_VERSION = 4


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
        """The device, and that of the reverse direction if it is another one."""
        return (self.device,) if self.reverse_device is None else (self.device, self.reverse_device)

    @property
    def blocks(self) -> range:
        """The indices of the stage's blocks."""
        return range(self.first_block, self.first_block + self.n_blocks)


@dataclass(frozen=True)
class Plan:
    """Where and in what pieces a run computes.

    Attributes:
        num_layers: layers of the whole stack.
        grid: how the stack and its batches are cut.
        stages: the stages in order, together holding every block once.
        core: how layers compute a chunk, one of `CORES`.
        data_parallel: copies of all this that share each batch.

    Raises:
        UsageError: there is no layer, no replica or no such core, or the stages leave a gap,
            overlap or do not end with the last block.
    """

    num_layers: int
    grid: Grid
    stages: tuple[StagePlan, ...]
    core: str = AUTO
    data_parallel: int = 1

    def __post_init__(self) -> None:
        check_positive("model.num_layers", self.num_layers)
        check_positive("engine.data_parallel", self.data_parallel)
        check_core(self.core)
        _require_contiguous(self.stages, self.n_blocks)

    @property
    def n_stages(self) -> int:
        """The number of stages."""
        return len(self.stages)

    @property
    def n_blocks(self) -> int:
        """The number of blocks of the whole stack."""
        return self.grid.n_blocks(self.num_layers)

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each stage, in order; a device that carries several stages is repeated."""
        return tuple(stage.device for stage in self.stages)

    @property
    def all_devices(self) -> tuple[str, ...]:
        """Every device of the plan, each once; those of reverse directions included."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.devices))

    def stage_layers(self, stage: int) -> range:
        """The indices of the layers of one stage.

        Raises:
            IndexError: the plan has no such stage.
        """
        blocks, size = self.stages[stage].blocks, self.grid.layers_per_block
        return range(blocks.start * size, min(blocks.stop * size, self.num_layers))

    def to_json(self) -> str:
        """Write the plan as indented JSON that `from_json` reads back to an equal plan."""
        return json.dumps({"version": PLAN_VERSION, **asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan that `to_json` wrote, in this version or an earlier one.

        Raises:
            UsageError: the text is not JSON, of another version, lacks a key, has one too many,
                holds a value of the wrong type, or describes an impossible plan.
        """
        try:
            entries = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"the plan is not JSON: {error}; write it with Plan.to_json."
            ) from error
        entries = _in_this_version(entries)
        _check_keys("the plan", entries, cls)
        if not isinstance(entries["stages"], list):
            raise UsageError(_wrong_type("the plan", "stages", entries["stages"], "a list"))
        return cls(
            num_layers=entries["num_layers"],
            core=entries["core"],
            data_parallel=entries["data_parallel"],
            grid=Grid(**_checked("the grid of the plan", entries["grid"], Grid)),
            stages=tuple(
                StagePlan(**_checked(f"stage {index} of the plan", stage, StagePlan))
                for index, stage in enumerate(entries["stages"])
            ),
        )


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


def _in_this_version(entries: Any) -> dict[str, Any]:
    """Return the entries of a plan of any version as this version has them."""
    _check_object("the plan", entries)
    version = entries.pop("version", None)
    if type(version) is not int or not 1 <= version <= PLAN_VERSION:
        raise UsageError(
            f"the plan has version {version!r}, but only versions 1 to {PLAN_VERSION} can be read;"
            " make the plan again."
        )
    if version == 1:
        # Version 1 had the sizes of the grid beside the others.
        names = [field.name for field in fields(Grid) if field.name in entries]
        entries["grid"] = {name: entries.pop(name) for name in names}
    if version < 3 and isinstance(entries.get("grid"), dict):
        # Until version 3 nothing could be computed again.
        entries["grid"].setdefault("recompute", Grid.recompute)
    if version < 4:
        # Until version 4 the settings alone said this.
        entries |= {"core": Plan.core, "data_parallel": Plan.data_parallel}
    result: dict[str, Any] = entries
    return result


def _checked(where: str, entries: Any, kind: type[Grid | StagePlan]) -> dict[str, Any]:
    """Return entries that have the names and the types of a dataclass's fields."""
    _check_object(where, entries)
    _check_keys(where, entries, kind)
    for field in fields(kind):
        value = entries[field.name]
        # bool is an int to Python, but `true` is not a size.
        if isinstance(value, bool) or not isinstance(value, field.type):  # type: ignore[arg-type]
            wanted = "a text" if field.type in (str, str | None) else "a whole number"
            raise UsageError(_wrong_type(where, field.name, value, wanted))
    checked: dict[str, Any] = entries
    return checked


def _check_object(where: str, entries: object) -> None:
    if not isinstance(entries, dict):
        raise UsageError(f"{where} is {entries!r}, not an object; write it with Plan.to_json.")


def _check_keys(where: str, entries: dict[str, Any], kind: type[Plan | Grid | StagePlan]) -> None:
    names = {field.name for field in fields(kind)}
    for fault, keys in (
        ("lacks", names - entries.keys()),
        ("does not know", entries.keys() - names),
    ):
        if keys:
            listed = ", ".join(sorted(keys))
            raise UsageError(f"{where} {fault}: {listed}; write it with Plan.to_json.")


def _wrong_type(where: str, key: str, value: object, wanted: str) -> str:
    return f"{where} has {key}={value!r}, which is not {wanted}; write it with Plan.to_json."
