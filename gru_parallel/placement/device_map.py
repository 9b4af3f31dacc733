"""Read placement.device_map: which device runs which block, as the user writes it.

Knows only the names of devices that it is given.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeGuard

from gru_parallel.errors import UsageError, counted
from gru_parallel.placement.plan import StagePlan

DEVICE_NAME = re.compile(r"(?P<kind>[a-z]+)(?::(?P<index>[0-9]+))?")
BLOCK_RANGE = re.compile(r"\s*(?P<first>[0-9]+)\s*(?:-\s*(?P<last>[0-9]+)\s*)?")
LONGEST_SHOWN = 80
LONGEST_EXAMPLE = 8


def parse_device_map(
    device_map: object,
    n_blocks: int,
    available: Sequence[str],
    merge: bool = True,
    check_exists: bool = True,
) -> tuple[StagePlan, ...]:
    """Turn a device map into stages.

    Args:
        device_map: a list of one device per block, as in ["cuda:0", "cuda:0", "cuda:1"], or a
            mapping of block ranges to devices, as in {"0-3": "cuda:0", 4: 1}. A device is a name,
            where "cuda" stands for "cuda:0", or an index into `available`; for bidirectional blocks
            also two names, as in "cuda:0+cuda:1", of which the second runs the reverse direction.
        n_blocks: blocks of the model, at least 1.
        available: the devices that exist, by full name.
        merge: whether consecutive blocks of one device become one stage. Without it every entry
            of the list or the mapping is one stage, so one device can carry several.
        check_exists: whether a device must be among `available`. Without it a name only has to
            look like one, so that a plan may name devices of another machine.

    Returns:
        The stages in order, holding each block once.

    Raises:
        UsageError: the map has the wrong form or length, a block twice or not at all, a device that
            does not exist, or one that returns after another.
    """
    shown = _show(device_map)
    try:
        if shown in ("", "[]", "{}"):
            raise UsageError(
                f"is empty, but the model has {counted(n_blocks, 'block')}; write one entry per"
                " block, or leave it out to have the blocks placed for you."
            )
        if isinstance(device_map, Mapping):
            entries = _read_ranges(device_map, n_blocks)
        elif _is_list(device_map):
            entries = _read_list(device_map, n_blocks)
        else:
            raise _not_a_map(device_map, n_blocks)
        stages = tuple(
            _read_stage(blocks, device, available, check_exists) for blocks, device in entries
        )
        merged = _merge(stages)
        _refuse_return(merged)
    except UsageError as error:
        raise UsageError(f"placement.device_map={shown} {error}") from None
    return merged if merge else stages


def has_numbers(device_map: object) -> bool:
    """Whether a device map has a number for a device, which says nothing without `available`."""
    devices: Iterable[object] = ()
    if isinstance(device_map, Mapping):
        devices = device_map.values()
    elif _is_list(device_map):
        devices = device_map
    return any(
        isinstance(device, int) or any(part.isdecimal() for part in str(device).split("+"))
        for device in devices
    )


def spread(devices: Sequence[str], n_blocks: int) -> tuple[str, ...]:
    """Spread blocks evenly over devices, in order: the device of each block."""
    return tuple(devices[block * len(devices) // n_blocks] for block in range(n_blocks))


# The messages of errors below continue what `parse_device_map` puts before them.


def _is_list(device_map: object) -> TypeGuard[Sequence[object]]:
    return isinstance(device_map, Sequence) and not isinstance(device_map, str | bytes)


def _read_list(device_map: Sequence[object], n_blocks: int) -> list[tuple[range, object]]:
    if len(device_map) != n_blocks:
        entries = "entry" if len(device_map) == 1 else "entries"
        raise UsageError(
            f"has {len(device_map)} {entries}, but the model has {counted(n_blocks, 'block')};"
            " write one entry per block, that is, one for each model.layers_per_block layers."
        )
    return [(range(block, block + 1), device) for block, device in enumerate(device_map)]


def _read_ranges(device_map: Mapping[object, object], n_blocks: int) -> list[tuple[range, object]]:
    entries = [(_read_range(key, n_blocks), device) for key, device in device_map.items()]
    entries.sort(key=lambda entry: (entry[0].start, entry[0].stop))
    next_block = 0
    # With an empty range at the end, because blocks may be missing there, too.
    for blocks in (*(blocks for blocks, _ in entries), range(n_blocks, n_blocks)):
        if blocks.start < next_block:
            raise UsageError(f"names block {blocks.start} more than once; name each block once.")
        if missing := range(next_block, blocks.start):
            raise UsageError(f"gives no device to {named_blocks(missing)}; name every block once.")
        next_block = blocks.stop
    return entries


def _read_range(key: object, n_blocks: int) -> range:
    is_key = isinstance(key, str | int) and not isinstance(key, bool)
    match = BLOCK_RANGE.fullmatch(str(key)) if is_key else None
    if match is None:
        raise UsageError(f"has the key {key!r}; write a block or a range of blocks, like 3 or 0-3.")
    first = int(match["first"])
    last = first if match["last"] is None else int(match["last"])
    if last < first:
        raise UsageError(f"has the range {key} backwards; write {last}-{first}.")
    if last >= n_blocks:
        raise UsageError(
            f"names block {last}, but the model has {counted(n_blocks, 'block')}; "
            f"name {named_blocks(range(n_blocks))} only."
        )
    return range(first, last + 1)


def _read_stage(
    blocks: range, device: object, available: Sequence[str], check_exists: bool
) -> StagePlan:
    both = device.split("+") if isinstance(device, str) else [device]
    names = [_read_device(one, available, check_exists) for one in both]
    if len(names) > 2 or len(set(names)) < len(names):
        raise UsageError(
            f"has the device {device!r}; write one device, or two different ones for the two "
            "directions of a bidirectional block, like cuda:0+cuda:1."
        )
    reverse = names[1] if len(names) == 2 else None
    return StagePlan(names[0], blocks.start, len(blocks), reverse)


def _read_device(device: object, available: Sequence[str], check_exists: bool) -> str:
    if isinstance(device, str) and device.isdecimal():
        # One of the two in 0+1.
        device = int(device)
    if isinstance(device, int) and not isinstance(device, bool):
        if 0 <= device < len(available):
            return available[device]
        raise UsageError(
            f"has the device number {device}, which does not exist; count from 0 in "
            f"{_list_devices(available)}, or write a name."
        )
    match = DEVICE_NAME.fullmatch(device) if isinstance(device, str) else None
    if match is None:
        raise UsageError(
            f"has the device {device!r}; write a name like cuda:0 or cpu:1, or a number like 0."
        )
    name = f"{match['kind']}:{int(match['index'] or 0)}"
    if check_exists and name not in available:
        raise UsageError(
            f"names {name}, which does not exist; use one of {_list_devices(available)}."
        )
    return name


def _merge(stages: Sequence[StagePlan]) -> tuple[StagePlan, ...]:
    runs = [list(run) for _, run in groupby(stages, key=lambda stage: stage.devices)]
    return tuple(replace(run[0], n_blocks=sum(stage.n_blocks for stage in run)) for run in runs)


def _refuse_return(stages: Sequence[StagePlan]) -> None:
    seen: set[str] = set()
    returning: list[str] = []
    texts = []
    for stage in stages:
        again = [device for device in stage.devices if device in seen]
        where = f"{named_blocks(stage.blocks)} on {stage.device_text}"
        texts.append(f"{where} again" if again else where)
        returning += again
        seen.update(stage.devices)
    if returning:
        raise UsageError(
            f"returns to {returning[0]} after another device: {', '.join(texts)}; "
            "give each device consecutive blocks."
        )


def _not_a_map(device_map: object, n_blocks: int) -> UsageError:
    if not isinstance(device_map, str | int) or isinstance(device_map, bool):
        return UsageError(
            f"is of type {type(device_map).__name__}; write a list of one device per block, like "
            "[cuda:0,cuda:1], or ranges of blocks, like {0-3:cuda:0,4-7:cuda:1}."
        )
    devices = [device.strip() for device in str(device_map).split(",")]
    example = spread(devices, n_blocks)
    if n_blocks > LONGEST_EXAMPLE:
        example = (example[0], "...", example[-1])
    return UsageError(
        f"has no brackets; write one entry per block, for {counted(n_blocks, 'block')} as in "
        f"placement.device_map=[{','.join(example)}]."
    )


def _show(device_map: object) -> str:
    if isinstance(device_map, Mapping):
        text = "{" + ",".join(f"{key}:{device}" for key, device in device_map.items()) + "}"
    elif _is_list(device_map):
        text = "[" + ",".join(map(str, device_map)) + "]"
    else:
        text = str(device_map)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def named_blocks(blocks: range) -> str:
    """Name consecutive blocks, as in `block 3` and `blocks 0-3`."""
    first, last = blocks[0], blocks[-1]
    return f"block {first}" if first == last else f"blocks {first}-{last}"


def _list_devices(available: Sequence[str]) -> str:
    """Name the devices, with long runs of one kind joined: "cpu:0 to cpu:7"."""
    runs: list[list[str]] = []
    for name in available:
        if runs and _follows(runs[-1][-1], name):
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _follows(before: str, name: str) -> bool:
    kind, _, index = before.partition(":")
    return index.isdigit() and name == f"{kind}:{int(index) + 1}"
