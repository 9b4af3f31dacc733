"""Which blocks are joined, and what becomes of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from gru_parallel.model import Block, GRUStack, Start, autocast
from gru_parallel.model.autocast import cudnn_takes
from gru_parallel.model.hidden import entering
from gru_parallel.stage.joined_blocks import joined
from tests.cudnn_stand_in import refuse_what_cudnn_refuses

WIDTH = 8
"""Of a state that is aligned in memory wherever in h_n it stands: the CPU's bits depend on it."""


@pytest.fixture
def cudnn() -> Iterator[None]:
    with refuse_what_cudnn_refuses(copies_weights=True):
        yield


def make_blocks(layers_per_block: int = 1, **options: Any) -> tuple[Block, ...]:
    torch.manual_seed(0)
    blocks = GRUStack(3, WIDTH, 4, layers_per_block, **options).gru_blocks
    for block in blocks:
        for name in block.learned_names:
            nn.init.uniform_(getattr(block, name))
    return blocks


def sizes(blocks: tuple[Block, ...]) -> list[int]:
    return [block.num_layers for block in blocks]


@pytest.mark.usefixtures("cudnn")
@pytest.mark.parametrize("h_0", ["given", "learned"])
@pytest.mark.parametrize("layers_per_block", [1, 2, 3])
def test_blocks_without_dropout_are_one_call_of_nn_gru(layers_per_block: int, h_0: str) -> None:
    blocks = make_blocks(layers_per_block=layers_per_block, h_0=h_0)
    (whole,) = joined(blocks, last_alone=False)
    assert [part.num_layers for part in whole.gru_parts] == [4]
    weights = {id(weight) for block in blocks for weight in block.parameters()}
    assert {*map(id, whole.weights())} == weights
    x = torch.randn(7, 2, 3)
    given = torch.randn(4, 2, WIDTH)
    h = entering(whole, 2, Start(given), None)
    with torch.no_grad():
        y, h_n = whole(x, h)
        for block, states in zip(blocks, (block.layers for block in blocks), strict=True):
            here = slice(states.start, states.stop)
            x, found = block(x, entering(block, 2, Start(given[here]), None))
            assert torch.equal(found, h_n[here])
    assert torch.equal(x, y)


def test_on_a_cpu_blocks_stay_as_they_are() -> None:
    blocks = make_blocks()
    assert joined(blocks, last_alone=False) == blocks


@pytest.mark.usefixtures("cudnn")
def test_one_block_stays_as_it_is() -> None:
    blocks = make_blocks(layers_per_block=4)
    assert joined(blocks, last_alone=False) == blocks


@pytest.mark.usefixtures("cudnn")
def test_a_block_whose_last_state_is_wanted_stays_as_it_is() -> None:
    blocks = make_blocks()
    found = joined(blocks, last_alone=True)
    assert sizes(found) == [3, 1]
    assert found[-1] is blocks[-1]


@pytest.mark.usefixtures("cudnn")
@pytest.mark.parametrize("training", [True, False])
def test_dropout_keeps_blocks_apart(training: bool) -> None:
    blocks = make_blocks(dropout=0.5)
    for block in blocks:
        block.train(training)
    assert joined(blocks, last_alone=False) == blocks


def drop_after(block: Block) -> None:
    block.dropout = 0.5


def evaluate(block: Block) -> None:
    block.eval()


def derive(block: Block) -> None:
    class Derived(nn.GRU):
        pass

    block.parts[0] = Derived(WIDTH, WIDTH)


def leave_out_bias(block: Block) -> None:
    block.parts[0] = nn.GRU(WIDTH, WIDTH, bias=False)


def widen(block: Block) -> None:
    block.double()


def start_otherwise(block: Block) -> None:
    block.h_0 = "zeros"


def hook(block: Block) -> None:
    block.register_forward_hook(lambda *_: None)


CHANGES = (drop_after, evaluate, derive, leave_out_bias, widen, start_otherwise, hook)


@pytest.mark.usefixtures("cudnn")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_block_of_another_form_stays_as_it_is(change: Callable[[Block], None]) -> None:
    blocks = make_blocks()
    change(blocks[1])
    found = joined(blocks, last_alone=False)
    assert sizes(found) == [1, 1, 2]
    assert found[:2] == blocks[:2]


@pytest.mark.usefixtures("cudnn")
def test_blocks_that_share_a_weight_stay_as_they_are() -> None:
    blocks = make_blocks()
    blocks[3].gru_parts[0].weight_hh_l0 = blocks[1].gru_parts[0].weight_hh_l0
    assert joined(blocks, last_alone=False) == blocks


@pytest.mark.usefixtures("cudnn")
def test_joining_draws_no_random_numbers() -> None:
    blocks = make_blocks()
    before = torch.get_rng_state()
    joined(blocks, last_alone=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("dtype", "version", "capability", "expected"),
    [
        (torch.float32, (9, 1, 0), (7, 0), True),
        (torch.bfloat16, (9, 13, 0), (8, 0), True),
        (torch.bfloat16, (9, 10, 2), (9, 0), False),
        (torch.bfloat16, (9, 19, 0), (7, 5), False),
    ],
)
def test_bfloat16_goes_to_cudnn_where_torch_gives_it_to_cudnn(
    dtype: torch.dtype,
    version: tuple[int, ...],
    capability: tuple[int, int],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weight = torch.ones(2, dtype=dtype)
    assert not cudnn_takes(weight)

    monkeypatch.setattr(torch, "cudnn_is_acceptable", lambda _: True)
    monkeypatch.setattr(autocast, "_version_of_build", lambda: version)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert cudnn_takes(weight) is expected
