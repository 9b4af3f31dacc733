"""What is thread-local in torch goes from the caller to the workers."""

from collections.abc import Callable
from threading import Thread

import pytest
import torch

from gru_parallel.engine.context import CallerContext

CPU = [torch.device("cpu")]


def state() -> dict[str, object]:
    return {
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_autocast_dtype("cpu"),
        "cache": torch.is_autocast_cache_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "gradients": torch.is_grad_enabled(),
    }


def state_in_a_worker(context: CallerContext, *, gradients: bool) -> dict[str, object]:
    seen: dict[str, object] = {}

    def work() -> None:
        before = state()
        with context.taken_over(gradients=gradients):
            seen.update(state())
        assert state() == before

    run_in_a_thread(work)
    return seen


def run_in_a_thread(work: Callable[[], None]) -> None:
    thread = Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("gradients", [True, False])
def test_without_contexts_a_worker_computes_plainly(gradients: bool) -> None:
    seen = state_in_a_worker(CallerContext.capture(CPU), gradients=gradients)

    assert seen == {**state(), "gradients": gradients}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cache", [True, False])
def test_autocast_is_taken_over_with_its_type_and_cache(dtype: torch.dtype, cache: bool) -> None:
    with torch.autocast("cpu", dtype=dtype, cache_enabled=cache):
        context = CallerContext.capture(CPU)

    seen = state_in_a_worker(context, gradients=True)

    assert seen["autocast"] is True
    assert seen["dtype"] == dtype
    assert seen["cache"] is cache


def test_inference_mode_is_taken_over_where_nothing_is_recorded() -> None:
    with torch.inference_mode():
        context = CallerContext.capture(CPU)

    assert state_in_a_worker(context, gradients=False)["inference"] is True
    assert state_in_a_worker(context, gradients=True)["inference"] is False
    assert state_in_a_worker(context, gradients=True)["gradients"] is True


def test_the_cpu_has_no_stream_to_wait_for() -> None:
    assert CallerContext.capture(CPU).streams == {}


def test_backward_runs_in_the_worker_itself_on_any_device() -> None:
    seen: list[bool] = []

    def work() -> None:
        with CallerContext.capture(CPU).taken_over(gradients=True):
            seen.append(torch._C._is_multithreading_enabled())
        seen.append(torch._C._is_multithreading_enabled())

    run_in_a_thread(work)

    assert seen == [False, True]
