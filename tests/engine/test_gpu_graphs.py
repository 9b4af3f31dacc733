"""CUDA graphs on a GPU: replays give the numbers of steps without, and a capture may fail."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.gpu.clock import make_clock
from benchmarks.gpu.measure import count_launches
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.schedule import SCHEDULES, Cell
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan, relative_error
from tests.engine.bitwise import assert_says_the_same
from tests.engine.gpu_memory import allocated_bytes
from tests.engine.recording import reason, train

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("no_thread_left", "no_tf32")]

N_STEPS = 6
"""Three run as they are, one is recorded, and two are replayed; so are the evaluations."""

PLACEMENTS = {
    "one stage": ["cuda:0"],
    "two stages on one GPU": ["cuda:0", "cuda:0"],
    "four stages on one GPU": ["cuda:0"] * 4,
    "two GPUs": ["cuda:0", "cuda:1"],
}
BLOCKS = {1: [4], 2: [1, 3], 4: [1, 1, 1, 1]}
GRID = {"n_micro_batches": 2, "n_chunks": 3}
TWO_STAGES = {"blocks_of_stages": [2, 2], "devices": ["cuda:0", "cuda:0"], **GRID}


def trained(
    graphs: bool | None, options: dict[str, Any], plan: dict[str, Any], n_steps: int = N_STEPS
) -> list[Tensor]:
    with ThreadEngine(
        build_model(**options), make_plan(**plan), MSE, seed=3, graphs=graphs
    ) as engine:
        found = train(engine, n_steps)
        assert graphs is False or reason(engine) is None
        return [tensor.cpu() for tensor in found]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    # Adam makes much of little where a gradient is about zero.
    assert max(map(relative_error, found, expected)) <= 1e-8


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_replays_give_the_numbers_of_steps_without_graphs(placement: str, schedule: str) -> None:
    devices = PLACEMENTS[placement]
    if "cuda:1" in devices and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    plan = {"blocks_of_stages": BLOCKS[len(devices)], "devices": devices, **GRID}
    plan["schedule"] = schedule
    # On GPUs torch's own core is the default, which leaves nothing for W.
    options = {"dropout": 0.5, "core": "fused" if schedule == "zero_bubble" else "auto"}

    # None is the default: on GPUs it is as good as True.
    assert_close(trained(None, options, plan), trained(False, options, plan))


@pytest.mark.parametrize(
    "options",
    [
        {"layers_per_block": 2},
        {"h_0": "learned"},
        {"h_0": "carry"},
        {"h_0": ["zeros", "previous", "carry", "previous"]},
        {"bidirectional": [True, False, True, False], "dropout": 0.4},
        {"every_step": True},
    ],
    ids=str,
)
def test_every_kind_of_block_is_replayed(options: dict[str, Any]) -> None:
    size = options.get("layers_per_block", 1)
    plan = TWO_STAGES | {"layers_per_block": size, "blocks_of_stages": [2 // size, 2 // size]}

    assert_close(trained(True, options, plan), trained(False, options, plan))


BITWISE = """
import torch
from tests.engine.test_gpu_graphs import TWO_STAGES, trained

for options in ({"dropout": 0.5}, {"dtype": torch.float32}, {"dtype": torch.bfloat16}):
    found, expected = (trained(graphs, options, TWO_STAGES) for graphs in (True, False))
    assert all(map(torch.equal, found, expected)), options
print("the same")
"""


def test_replays_are_bit_for_bit_the_same() -> None:
    assert_says_the_same(BITWISE)


def test_under_autocast_replays_give_the_numbers_of_steps_without() -> None:
    found = []
    for graphs in (True, False):
        model = build_model(dtype=torch.float32)
        with ThreadEngine(model, make_plan(**TWO_STAGES), MSE, graphs=graphs) as engine:
            for step in range(N_STEPS):
                model.zero_grad()
                x, y = make_batch(dtype=torch.float32, seed=step)
                with torch.autocast("cuda", torch.bfloat16):
                    loss = engine.train_step(Windows(x.cuda(), y.cuda()))
                loss.backward()
            assert not graphs or reason(engine) is None
        found.append([loss.cpu(), *(g for g in gradients_of(model).values() if g is not None)])

    assert max(map(relative_error, *found)) <= 2**-6


@pytest.fixture
def waits_in_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each F wait for the GPU, which a step may do and a capture may not."""
    forward = StagePass.forward

    def waiting(own: StagePass, cell: Cell, received: Parcel | None) -> list[Parcel]:
        torch.cuda.current_stream().synchronize()
        return forward(own, cell, received)

    monkeypatch.setattr(StagePass, "forward", waiting)


@pytest.mark.usefixtures("waits_in_forward")
def test_a_capture_that_fails_is_said_and_done_without() -> None:
    expected = trained(False, {}, TWO_STAGES)

    with (
        ThreadEngine(build_model(), make_plan(**TWO_STAGES), MSE, seed=3) as engine,
        pytest.warns(RuntimeWarning, match="goes on without CUDA graphs"),
    ):
        found = [tensor.cpu() for tensor in train(engine, N_STEPS)]

    assert_close(found, expected)


def test_a_capture_that_failed_leaves_a_gpu_that_works(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context():
        request.getfixturevalue("waits_in_forward")
        with (
            ThreadEngine(build_model(), make_plan(**TWO_STAGES), MSE, graphs=True) as engine,
            pytest.raises(RuntimeError) as caught,
        ):
            train(engine, N_STEPS)
        assert any("while a call was recorded" in note for note in caught.value.__notes__)
    monkeypatch.undo()

    # torch's default generator refuses to draw while it believes that a capture goes on.
    assert torch.rand(1, device="cuda").item() < 1
    assert_close(trained(True, {}, TWO_STAGES), trained(False, {}, TWO_STAGES))


@pytest.mark.usefixtures("waits_in_forward")
@pytest.mark.filterwarnings("ignore:The engine goes on without CUDA graphs")
def test_memory_does_not_grow_after_a_capture_that_failed() -> None:
    # Memory that several streams have used is the allocator's to keep while one captures.
    allocated = []
    with ThreadEngine(build_model(), make_plan(**TWO_STAGES), MSE) as engine:
        for _ in range(2 * N_STEPS):
            engine.model.zero_grad()
            x, y = (tensor.cuda() for tensor in make_batch(16, 24))
            engine.train_step(Windows(x, y)).backward()
            allocated.append(allocated_bytes())

    assert allocated[-1] <= allocated[N_STEPS]


def test_an_action_is_one_launch() -> None:
    x, y = (tensor.cuda() for tensor in make_batch())
    with ThreadEngine(build_model(), make_plan(**TWO_STAGES), MSE, graphs=True) as engine:
        for _ in range(N_STEPS):
            engine.train_step(Windows(x, y))
        clock = make_clock([torch.device("cuda", 0)])
        launches = count_launches(lambda: engine.train_step(Windows(x, y)), clock)

    # F and B of 2 x 3 cells on 2 stages.
    assert launches["cudaGraphLaunch"] == 2 * 6 * 2


def test_graphs_of_other_sizes_do_not_pile_up() -> None:
    allocated = []
    with ThreadEngine(build_model(), make_plan(**TWO_STAGES), MSE, graphs=True) as engine:
        for n_rows in (*range(4, 12), *range(4, 12)):
            for _ in range(N_STEPS):
                engine.model.zero_grad()
                x, y = (tensor.cuda() for tensor in make_batch(n_rows, 24))
                engine.train_step(Windows(x, y)).backward()
            allocated.append(allocated_bytes())

    assert allocated[-1] <= max(allocated[: len(allocated) // 2])
