"""The same numbers on CUDA: streams, copies between devices, autocast and measured times."""

import random
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.schedule import SCHEDULES, Cell, build_schedule, lower
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import (
    MSE,
    TOLERANCE,
    assert_close,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
    run_engine,
    run_in_one_piece,
)
from tests.engine.bitwise import assert_says_the_same
from tests.engine.gpu_memory import allocated_bytes
from tests.engine.patches import before_each_cell

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("no_thread_left", "no_tf32")]

Run = Callable[[StagePass, Cell, Parcel | None], list[Parcel]]

PLACEMENTS = {
    "one stage": ["cuda:0"],
    "two stages on one GPU": ["cuda:0", "cuda:0"],
    "three stages on one GPU": ["cuda:0"] * 3,
    "four stages on one GPU": ["cuda:0"] * 4,
    "CPU, then GPU": ["cpu:0", "cuda:0"],
    "GPU, then CPU": ["cuda:0", "cpu:0"],
    "GPU around CPU": ["cuda:0", "cpu:0", "cuda:0"],
    "CPU around GPU": ["cpu:0", "cuda:0", "cpu:1"],
    "two GPUs": ["cuda:0", "cuda:1"],
    "there and back": ["cuda:0", "cuda:1", "cuda:0"],
}
BLOCKS = {1: [4], 2: [2, 2], 3: [1, 2, 1], 4: [1, 1, 1, 1]}
"""Blocks of each stage, by the number of stages."""

SLEEP_CYCLES = 20_000_000
"""Ten milliseconds at 2 GHz, which no GPU exceeds by much."""


def make_engine(
    devices: list[str],
    schedule: str = "one_f_one_b",
    n_micro_batches: int = 2,
    n_chunks: int = 3,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> ThreadEngine:
    if "cuda:1" in devices and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    plan = make_plan(BLOCKS[len(devices)], schedule, n_micro_batches, n_chunks, devices=devices)
    # On GPUs torch's own core is the default, which leaves nothing for W.
    core = "fused" if schedule == "zero_bubble" else "auto"
    return ThreadEngine(build_model(dtype=dtype, core=core, **options), plan, MSE)


@pytest.mark.parametrize("batch_device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_step_equals_the_model_in_one_piece(
    placement: str, schedule: str, dtype: torch.dtype, batch_device: str
) -> None:
    x, y = make_batch(dtype=dtype)
    expected = run_in_one_piece(build_model(dtype=dtype), x, y)

    with make_engine(PLACEMENTS[placement], schedule, dtype=dtype) as engine:
        actual = run_engine(engine, x.to(batch_device), y.to(batch_device))

    assert actual.predictions.device.type == PLACEMENTS[placement][-1].partition(":")[0]
    assert_close(actual, expected, TOLERANCE[dtype])


def test_every_stage_lies_on_its_device() -> None:
    with make_engine(["cuda:0", "cpu:0"]) as engine:
        blocks = engine.model.gru.gru_blocks
        types = [{p.device.type for p in block.parameters()} for block in blocks]

    assert types == [{"cuda"}, {"cuda"}, {"cpu"}, {"cpu"}]


@pytest.fixture
def slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold each stage's stream up before and after its work, so that the host runs far ahead.

    A missing event, or memory handed out too early, then gives wrong numbers instead of luck.
    """
    delays = random.Random(0)

    def pause(stage: Stage) -> None:
        if stage.lane.device.type == "cuda":
            torch.cuda._sleep(delays.choice([0, 100_000, 1_000_000]))

    def slow(run: Run) -> Run:
        def slow_run(own: StagePass, cell: Cell, received: Parcel | None) -> list[Parcel]:
            pause(own.stage)
            out = run(own, cell, received)
            pause(own.stage)
            return out

        return slow_run

    monkeypatch.setattr(StagePass, "forward", slow(StagePass.forward))
    monkeypatch.setattr(StagePass, "backward", slow(StagePass.backward))


@pytest.mark.usefixtures("slowed_down")
@pytest.mark.parametrize("placement", [name for name in PLACEMENTS if name != "one stage"])
@pytest.mark.parametrize("schedule", ["gpipe", "one_f_one_b", "zero_bubble"])
def test_many_steps_under_memory_pressure_stay_right(schedule: str, placement: str) -> None:
    n_steps = 20
    whole = build_model()
    batches = [make_batch(16, 24, seed=step) for step in range(n_steps)]
    expected = []
    for x, y in batches:
        whole.zero_grad()
        expected.append(run_in_one_piece(whole, x, y))

    with make_engine(PLACEMENTS[placement], schedule, 4, 6) as engine:
        for (x, y), wanted in zip(batches, expected, strict=True):
            engine.model.zero_grad()
            actual = run_engine(engine, x.cuda(), y.cuda())
            # Memory that was let go of too early is overwritten here, on the caller's stream.
            rubbish = [torch.full((2**k,), float("nan"), device="cuda") for k in range(6, 20)]
            del rubbish
            assert_close(actual, wanted, TOLERANCE[torch.float64])


@pytest.mark.usefixtures("slowed_down")
def test_the_stages_wait_for_the_callers_stream_and_it_for_them() -> None:
    x, y = make_batch()
    expected = run_in_one_piece(build_model(), x, y)
    stream = torch.cuda.Stream()

    with make_engine(["cuda:0", "cuda:0"]) as engine, torch.cuda.stream(stream):
        x_late, y_late = torch.empty_like(x, device="cuda"), torch.empty_like(y, device="cuda")
        # The batch is filled only when the engine has queued its work already.
        torch.cuda._sleep(SLEEP_CYCLES)
        x_late.copy_(x.pin_memory(), non_blocking=True)
        y_late.copy_(y.pin_memory(), non_blocking=True)
        actual = run_engine(engine, x_late, y_late)
        # Read on the caller's stream with no other wait than the one that the engine has queued.
        loss = actual.loss.clone()

    stream.synchronize()
    assert relative_error(loss, expected.loss) <= 1e-12
    assert_close(actual, expected, 1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_under_autocast_the_pipeline_equals_the_whole_model_under_autocast(placement: str) -> None:
    x, y = (tensor.cuda() for tensor in make_batch(dtype=torch.float32))
    whole = build_model(dtype=torch.float32).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        expected = WholeEngine(whole, MSE).train_step(Windows(x, y))
    expected.backward()

    types: set[torch.dtype] = set()
    # On for one kind of device, it holds for all stages.
    kind = PLACEMENTS[placement][-1].partition(":")[0]
    with make_engine(PLACEMENTS[placement], dtype=torch.float32) as engine:
        note = before_each_cell(engine.model, 2, lambda _, x: types.add(x.dtype))
        with torch.autocast(kind, torch.bfloat16), note:
            loss = engine.train_step(Windows(x, y))
            predictions = engine.predict(Windows(x))
        loss.backward()

    # What crosses from stage to stage is bfloat16, and half the bytes.
    assert types == {predictions.dtype} == {torch.bfloat16}
    assert {p.grad.dtype for p in engine.model.parameters() if p.grad is not None} == {
        torch.float32
    }
    assert relative_error(loss, expected) <= 2**-6
    assert_gradients_close(gradients_of(engine.model), gradients_of(whole), 2**-5)


@pytest.mark.parametrize("placement", ["one stage", "two stages on one GPU", "GPU, then CPU"])
def test_bfloat16_has_the_range_that_float16_has_not(placement: str) -> None:
    x, y = (tensor.cuda() for tensor in make_batch(dtype=torch.float32))
    with make_engine(PLACEMENTS[placement], dtype=torch.float32) as engine:
        with torch.no_grad():
            engine.model.head.linear.weight.mul_(1e-6)
        with torch.autocast("cuda", torch.bfloat16):
            engine.train_step(Windows(x, y)).backward()
            far = engine.predict(Windows(1e5 * x))

    assert far.isfinite().all()
    # In float16 what comes back from the head is 0.
    assert all(g is not None and g.any() for g in gradients_of(engine.model).values())


BITWISE = """
import torch
from tests.builders import make_plan
from tests.test_exactness import train

for schedule, n_micro_batches, n_chunks in [
    ("gpipe", 1, 4), ("one_f_one_b", 2, 3), ("naive", 3, 1), ("one_f_one_b", 1, 1)
]:
    runs = []
    for blocks in ([4], [2, 2], [1, 3], [3, 1], [1, 1, 1, 1]):
        devices = ["cuda:0"] * len(blocks)
        plan = make_plan(blocks, schedule, n_micro_batches, n_chunks, devices=devices)
        runs.append(train("threads", plan))
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True)), schedule
print("the same")
"""


def test_training_is_bit_for_bit_the_same_on_every_map_of_one_gpu() -> None:
    assert_says_the_same(BITWISE)


def test_measured_times_are_the_devices_and_others_the_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = StagePass.forward

    def slow_forward(own: StagePass, cell: Cell, received: Parcel | None) -> list[Parcel]:
        torch.cuda._sleep(SLEEP_CYCLES)
        return forward(own, cell, received)

    x, y = (tensor.cuda() for tensor in make_batch())
    with make_engine(["cuda:0", "cuda:0"], "gpipe") as engine:
        # The first step loads kernels, which takes the host longer than anything measured here.
        engine.train_step(Windows(x, y))
        monkeypatch.setattr(StagePass, "forward", slow_forward)
        usual = {}
        for engine.measure in (True, False):
            torch.cuda.synchronize()
            engine.train_step(Windows(x, y))
            timeline = engine.timeline
            assert timeline is not None
            lowered = lower(build_schedule("gpipe", 2, 2, 3))
            for stage, actions in enumerate(lowered.actions):
                events = timeline.stage_events(stage)
                assert tuple(event.action for event in events) == actions
            durations = [e.duration_ms for e in timeline.events if e.action.op == "F"]
            usual[engine.measure] = median(durations)
            if engine.measure:
                # Half of what the sleep takes at 2 GHz, for GPUs with a faster clock.
                assert min(durations) > 5
    assert usual[False] < usual[True]


def test_a_stage_that_fails_on_the_gpu_leaves_a_working_engine() -> None:
    x, y = make_batch()
    expected = run_in_one_piece(build_model(), x, y)

    def fail(cell: Cell, _: Tensor) -> None:
        if cell == (1, 1):
            raise ZeroDivisionError

    with make_engine(["cuda:0", "cuda:0"]) as engine:
        with before_each_cell(engine.model, 3, fail), pytest.raises(ZeroDivisionError) as caught:
            engine.train_step(Windows(x, y))
        assert "stage 1 on cuda:0 ran 1F1.1" in caught.value.__notes__[0]
        assert_close(run_engine(engine, x, y), expected, 1e-12)


def test_memory_does_not_grow_from_step_to_step() -> None:
    x, y = (tensor.cuda() for tensor in make_batch(16, 24))
    allocated = []
    with make_engine(["cuda:0"] * 4, "one_f_one_b", 4, 6) as engine:
        # The first few run as they are, and then one is recorded; the others are replayed.
        for _ in range(10):
            engine.model.zero_grad()
            engine.train_step(Windows(x, y)).backward()
            allocated.append(allocated_bytes())

    assert allocated[-1] <= allocated[5]
