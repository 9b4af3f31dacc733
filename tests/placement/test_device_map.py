"""Device maps: every form that is read, and every mistake with the message that answers it."""

from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.errors import UsageError
from gru_parallel.placement import StagePlan, parse_device_map

GPUS = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
AVAILABLE = (*GPUS, "cpu:0", "cpu:1")
TWO_BY_TWO = (StagePlan("cuda:0", 0, 2), StagePlan("cuda:1", 2, 2))


@pytest.mark.parametrize(
    "device_map",
    [
        ["cuda:0", "cuda:0", "cuda:1", "cuda:1"],
        ("cuda:0", "cuda:0", "cuda:1", "cuda:1"),
        [0, 0, 1, 1],
        ["cuda", 0, "cuda:01", 1],
        {"0-1": "cuda:0", "2-3": "cuda:1"},
        {"2-3": 1, "0-1": 0},
        {0: "cuda:0", 1: "cuda", "2": 1, " 3 ": 1},
        {"0 - 1": 0, "2-2": 1, 3: 1},
    ],
)
def test_every_form_gives_the_same_stages(device_map: object) -> None:
    assert parse_device_map(device_map, 4, AVAILABLE) == TWO_BY_TWO


@given(st.lists(st.integers(1, 4), min_size=1, max_size=len(GPUS)))
def test_list_and_ranges_agree(sizes: list[int]) -> None:
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    as_list = [stage for stage, size in enumerate(sizes) for _ in range(size)]
    as_ranges = {
        f"{start}-{start + size - 1}": GPUS[stage]
        for stage, (start, size) in enumerate(zip(starts, sizes, strict=True))
    }

    expected = tuple(map(StagePlan, GPUS, starts, sizes))

    assert parse_device_map(as_list, sum(sizes), AVAILABLE) == expected
    assert parse_device_map(as_ranges, sum(sizes), AVAILABLE) == expected


def test_cpu_alone_is_the_first_cpu_worker() -> None:
    assert parse_device_map(["cpu"], 1, AVAILABLE) == (StagePlan("cpu:0", 0, 1),)


def test_the_two_devices_of_a_block_may_be_numbers() -> None:
    stages = parse_device_map(["0+1", "2"], 2, ["cpu:0", "cpu:1", "cpu:2"])

    assert stages == (StagePlan("cpu:0", 0, 1, "cpu:1"), StagePlan("cpu:2", 1, 1))


def test_without_merge_every_list_entry_is_a_stage() -> None:
    stages = parse_device_map([0, 0, 0], 3, AVAILABLE, merge=False)

    assert stages == tuple(StagePlan("cuda:0", block, 1) for block in range(3))


def test_without_merge_every_range_is_a_stage() -> None:
    stages = parse_device_map({"0-1": 0, "2-4": 0}, 5, AVAILABLE, merge=False)

    assert stages == (StagePlan("cuda:0", 0, 2), StagePlan("cuda:0", 2, 3))


def test_a_device_of_another_machine_is_read_where_existence_is_not_checked() -> None:
    stages = parse_device_map(["cuda:7"], 1, ["cpu:0"], check_exists=False)

    assert stages == (StagePlan("cuda:7", 0, 1),)


def error_of(
    device_map: object, n_blocks: int = 4, available: Sequence[str] = AVAILABLE, **options: bool
) -> str:
    with pytest.raises(UsageError) as caught:
        parse_device_map(device_map, n_blocks, available, **options)
    return str(caught.value).removeprefix("placement.device_map=")


MISTAKES = {
    "too short": (
        [0, 1],
        "[0,1] has 2 entries, but the model has 4 blocks; write one entry per block, that is, one "
        "for each model.layers_per_block layers.",
    ),
    "too long": (
        ["cuda:0"] * 5,
        "[cuda:0,cuda:0,cuda:0,cuda:0,cuda:0] has 5 entries, but the model has 4 blocks; write one "
        "entry per block, that is, one for each model.layers_per_block layers.",
    ),
    "empty list": (
        [],
        "[] is empty, but the model has 4 blocks; write one entry per block, or leave it out to "
        "have the blocks placed for you.",
    ),
    "empty mapping": (
        {},
        "{} is empty, but the model has 4 blocks; write one entry per block, or leave it out to "
        "have the blocks placed for you.",
    ),
    "empty text": (
        "",
        " is empty, but the model has 4 blocks; write one entry per block, or leave it out to "
        "have the blocks placed for you.",
    ),
    "gap inside": (
        {"0": 0, "3": 1},
        "{0:0,3:1} gives no device to blocks 1-2; name every block once.",
    ),
    "gap at the start": (
        {"1-3": 0},
        "{1-3:0} gives no device to block 0; name every block once.",
    ),
    "gap at the end": (
        {"0-2": 0},
        "{0-2:0} gives no device to block 3; name every block once.",
    ),
    "overlap": (
        {"0-1": 0, "1-3": 1},
        "{0-1:0,1-3:1} names block 1 more than once; name each block once.",
    ),
    "overlap of a range with one inside it": (
        {"0-3": 0, "1": 1},
        "{0-3:0,1:1} names block 1 more than once; name each block once.",
    ),
    "one block as number and as text": (
        {0: 0, "0": 0, "1-3": 1},
        "{0:0,0:0,1-3:1} names block 0 more than once; name each block once.",
    ),
    "range out of bounds": (
        {"0-4": 0},
        "{0-4:0} names block 4, but the model has 4 blocks; name blocks 0-3 only.",
    ),
    "range backwards": (
        {"3-0": 0},
        "{3-0:0} has the range 3-0 backwards; write 0-3.",
    ),
    "malformed key": (
        {"0:3": 0},
        "{0:3:0} has the key '0:3'; write a block or a range of blocks, like 3 or 0-3.",
    ),
    "negative key": (
        {-1: 0},
        "{-1:0} has the key -1; write a block or a range of blocks, like 3 or 0-3.",
    ),
    "truth value as key": (
        {True: 0},
        "{True:0} has the key True; write a block or a range of blocks, like 3 or 0-3.",
    ),
    "device that does not exist": (
        [0, 0, 0, "cuda:4"],
        "[0,0,0,cuda:4] names cuda:4, which does not exist; use one of cuda:0 to cuda:3, cpu:0, "
        "cpu:1.",
    ),
    "device in a range that does not exist": (
        {"0-3": "xpu"},
        "{0-3:xpu} names xpu:0, which does not exist; use one of cuda:0 to cuda:3, cpu:0, cpu:1.",
    ),
    "device number that does not exist": (
        [0, 0, 0, 6],
        "[0,0,0,6] has the device number 6, which does not exist; count from 0 in cuda:0 to "
        "cuda:3, cpu:0, cpu:1, or write a name.",
    ),
    "negative device number": (
        [0, 0, 0, -1],
        "[0,0,0,-1] has the device number -1, which does not exist; count from 0 in cuda:0 to "
        "cuda:3, cpu:0, cpu:1, or write a name.",
    ),
    "malformed device": (
        [0, 0, 0, "cuda 1"],
        "[0,0,0,cuda 1] has the device 'cuda 1'; write a name like cuda:0 or cpu:1, or a number "
        "like 0.",
    ),
    "device of a wrong type": (
        [0, 0, 0, 1.0],
        "[0,0,0,1.0] has the device 1.0; write a name like cuda:0 or cpu:1, or a number like 0.",
    ),
    "truth value as device": (
        [0, 0, 0, True],
        "[0,0,0,True] has the device True; write a name like cuda:0 or cpu:1, or a number like 0.",
    ),
    "map of a wrong type": (
        1.5,
        "1.5 is of type float; write a list of one device per block, like [cuda:0,cuda:1], or "
        "ranges of blocks, like {0-3:cuda:0,4-7:cuda:1}.",
    ),
    "truth value": (
        False,
        "False is of type bool; write a list of one device per block, like [cuda:0,cuda:1], or "
        "ranges of blocks, like {0-3:cuda:0,4-7:cuda:1}.",
    ),
    "one device without brackets": (
        "cuda:0",
        "cuda:0 has no brackets; write one entry per block, for 4 blocks as in "
        "placement.device_map=[cuda:0,cuda:0,cuda:0,cuda:0].",
    ),
    "several devices without brackets": (
        "cuda:0,cuda:1",
        "cuda:0,cuda:1 has no brackets; write one entry per block, for 4 blocks as in "
        "placement.device_map=[cuda:0,cuda:0,cuda:1,cuda:1].",
    ),
    "one number": (
        0,
        "0 has no brackets; write one entry per block, for 4 blocks as in "
        "placement.device_map=[0,0,0,0].",
    ),
    "device that returns": (
        ["cuda:0", "cuda:0", "cuda:1", "cuda:0"],
        "[cuda:0,cuda:0,cuda:1,cuda:0] returns to cuda:0 after another device: blocks 0-1 on "
        "cuda:0, block 2 on cuda:1, block 3 on cuda:0 again; give each device consecutive "
        "blocks.",
    ),
}


@pytest.mark.parametrize(("device_map", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_answered_by_its_rule_its_value_and_a_remedy(
    device_map: object, message: str
) -> None:
    assert error_of(device_map) == message


def test_every_error_names_the_setting() -> None:
    for device_map, _ in MISTAKES.values():
        with pytest.raises(UsageError, match=r"^placement\.device_map="):
            parse_device_map(device_map, 4, AVAILABLE)


def test_a_device_that_returns_is_refused_without_merge_as_well() -> None:
    message = error_of({"0-1": 0, 2: 1, 3: 0}, merge=False)

    assert "blocks 0-1 on cuda:0, block 2 on cuda:1, block 3 on cuda:0 again" in message


def test_a_name_must_look_like_a_device_even_where_existence_is_not_checked() -> None:
    assert "has the device 'cuda-0'" in error_of(["cuda-0"], n_blocks=1, check_exists=False)


def test_a_number_must_exist_even_where_existence_is_not_checked() -> None:
    message = error_of([1], n_blocks=1, available=["cpu:0"], check_exists=False)

    assert "device number 1, which does not exist; count from 0 in cpu:0, or write" in message


def test_a_long_map_is_cut_short_in_the_message() -> None:
    message = error_of(["cuda:0"] * 40, n_blocks=64)

    assert message.startswith("[cuda:0,cuda:0")
    assert "... has 40 entries" in message
    assert len(message) < 250


def test_the_example_for_many_blocks_is_cut_short() -> None:
    message = error_of("cuda:0,cuda:1", n_blocks=64)

    assert message.endswith("for 64 blocks as in placement.device_map=[cuda:0,...,cuda:1].")


@given(
    devices=st.lists(st.sampled_from(GPUS), min_size=1, max_size=6),
    merge=st.booleans(),
)
def test_a_list_is_placed_as_written_or_refused_because_a_device_returns(
    devices: list[str], merge: bool
) -> None:
    returns = len(list(groupby(devices))) > len(set(devices))
    if returns:
        assert "after another device" in error_of(devices, len(devices), merge=merge)
    else:
        stages = parse_device_map(devices, len(devices), AVAILABLE, merge=merge)
        assert [stage.device for stage in stages for _ in stage.blocks] == devices
        assert [block for stage in stages for block in stage.blocks] == list(range(len(devices)))


def test_a_block_may_have_a_second_device_for_its_reverse_direction() -> None:
    available = ["cpu:0", "cpu:1", "cpu:2"]

    stages = parse_device_map(["cpu:0+cpu:1", "cpu:0+cpu:1", "cpu:2"], 3, available)

    assert [(s.device, s.reverse_device, s.n_blocks) for s in stages] == [
        ("cpu:0", "cpu:1", 2),
        ("cpu:2", None, 1),
    ]
    assert stages[0].device_text == "cpu:0+cpu:1"


@pytest.mark.parametrize(
    ("device_map", "message"),
    [
        (["cpu:0+cpu:0"], "write one device, or two different ones"),
        (["cpu:0+cpu:1+cpu:2"], "write one device, or two different ones"),
        (["cpu:0+cuda:3"], "names cuda:3, which does not exist"),
        (["cpu:0+cpu:1", "cpu:1"], "returns to cpu:1 after another device"),
        (["cpu:0+cpu:1", "cpu:0"], "block 0 on cpu:0.cpu:1, block 1 on cpu:0 again"),
    ],
)
def test_second_devices_that_cannot_work_are_refused(device_map: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_device_map(device_map, len(device_map), ["cpu:0", "cpu:1", "cpu:2"])
