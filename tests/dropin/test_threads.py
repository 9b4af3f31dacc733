"""When workers start and end, what becomes of their errors, and callers in several threads."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.model import GRUBlock
from tests.dropin.conftest import workers
from tests.dropin.twins import (
    CUTS,
    TWO_CPUS,
    assert_same,
    gradients,
    make_twins,
    make_x,
    refusal,
    weighted_sum,
)


def test_workers_start_with_the_first_call() -> None:
    _, ours = make_twins(TWO_CPUS)
    assert not workers()

    ours(make_x())
    ours(make_x())

    assert [t.name for t in workers()] == [
        "gru_parallel stage 0 (cpu:0)",
        "gru_parallel stage 1 (cpu:1)",
    ]


def test_there_are_no_workers_without_a_device_map() -> None:
    _, ours = make_twins({"n_chunks": 3, "n_micro_batches": 2}, bidirectional=True)

    weighted_sum(ours(make_x())).backward()

    assert not workers()


def test_workers_end_with_the_module_and_its_last_graph() -> None:
    plain, ours = make_twins(TWO_CPUS)
    x = make_x().requires_grad_()
    loss = weighted_sum(ours(x))
    threads = workers()
    del ours

    loss.backward()
    del loss

    for thread in threads:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in threads)
    (expected,) = torch.autograd.grad(weighted_sum(plain(x)), [x])
    assert_same(x.grad, expected)


def test_other_options_end_the_workers_of_the_old_ones() -> None:
    _, ours = make_twins(TWO_CPUS)
    ours(make_x())
    old = workers()

    ours.n_chunks = 2
    ours(make_x())

    for thread in old:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in old)
    assert len(workers()) == 2


def fail_in_second_block(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = GRUBlock.forward

    def failing(own: GRUBlock, *args: Any) -> tuple[Tensor, Tensor]:
        if own.first_layer == 1:
            raise ZeroDivisionError("by nothing")
        return forward(own, *args)

    monkeypatch.setattr(GRUBlock, "forward", failing)


@pytest.mark.parametrize(
    "cut", ["in the caller's thread", "two devices", "two devices, zero bubble"]
)
def test_after_an_error_on_a_stage_the_module_works_again(
    cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, ours = make_twins(CUTS[cut])
    with monkeypatch.context() as patch:
        fail_in_second_block(patch)
        assert refusal(lambda: ours(make_x())) == (ZeroDivisionError, "by nothing")

    found = []
    for gru in (ours, plain):
        out = gru(make_x())
        weighted_sum(out).backward()
        found.append([*out, *gradients(gru)])
    assert_same(*found)


def test_after_an_error_workers_end_with_no_help_of_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_in_second_block(monkeypatch)

    refusal(lambda: make_twins(TWO_CPUS)[1](make_x()))
    threads = workers()

    for thread in threads:
        thread.join(5.0)
    assert not any(thread.is_alive() for thread in threads)


def test_an_error_of_backward_reaches_the_caller_and_the_graph_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, ours = make_twins(TWO_CPUS)
    x = make_x().requires_grad_()
    loss = weighted_sum(ours(x))

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    with monkeypatch.context() as patch:
        patch.setattr("gru_parallel.stage.gradients.SectionGradients.of_inputs", fail)
        refused = refusal(lambda: loss.backward(retain_graph=True))
    assert refused == (ZeroDivisionError, "by nothing")

    (actual,) = torch.autograd.grad(loss, [x])
    (expected,) = torch.autograd.grad(weighted_sum(plain(x)), [x])
    assert_same(actual, expected)


@pytest.mark.parametrize("cut", CUTS)
def test_several_threads_may_call_one_module_at_once(cut: str) -> None:
    plain, ours = make_twins(CUTS[cut])
    inputs = [make_x(n, 3, 3, seed=n) for n in (3, 4, 5, 6)] * 5

    def differentiate(gru: Any, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        out = gru(x)
        return [*out, *torch.autograd.grad(weighted_sum(out), [x, *gru.parameters()])]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: differentiate(ours, x), inputs))

    assert_same(found, [differentiate(plain, x) for x in inputs])


def test_a_model_of_two_drop_ins_runs_back_through_both() -> None:
    plain, ours = make_twins(TWO_CPUS)
    _, second = make_twins(CUTS["two devices, zero bubble"], input_size=4, seed=8)
    whole = second.to_torch()
    found = []
    for first, then in ((ours, second), (plain, whole)):
        x = make_x().requires_grad_()
        y, h_n = first(x)
        out = then(y, h_n)
        weighted_sum(out).backward()
        found.append([*out, x.grad, *gradients(first), *gradients(then)])

    assert_same(*found)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=["one way", "both ways"])
def test_a_forked_child_starts_workers_of_its_own(options: dict[str, Any]) -> None:
    devices = ["cpu:0+cpu:2", "cpu:1+cpu:3"] if options else ["cpu:0", "cpu:1"]
    _, ours = make_twins({"device_map": devices}, num_layers=2, **options)
    with torch.no_grad():
        expected = ours(make_x())[0].sum().item()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def run_in_child() -> None:
        with torch.no_grad():
            answers.put(ours(make_x())[0].sum().item())

    child = context.Process(target=run_in_child)
    child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
        pytest.fail("the child hangs")

    assert answers.get() == expected
