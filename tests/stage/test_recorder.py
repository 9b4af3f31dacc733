"""The stand-in for CUDA graphs does what they do, and refuses what they cannot."""

from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine import graphs
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.stage import recorder as recorder_module
from gru_parallel.stage.cpu_recorder import CPURecorder
from gru_parallel.stage.recorder import CUDARecorder
from tests.builders import MSE, build_model, make_batch, make_plan

CPU = torch.device("cpu")


def test_nothing_is_done_before_a_replay() -> None:
    x, total = torch.ones(3), torch.zeros(3)
    made: list[Tensor] = []

    def work() -> None:
        made.append(x * 2)
        total.add_(made[0])

    recording = CPURecorder(CPU).record(work)
    assert total.tolist() == [0, 0, 0]
    assert made[0].isnan().all()
    for n_replays in (1, 2):
        recording.replay()
        assert made[0].tolist() == [2, 2, 2]
        assert total.tolist() == [2 * n_replays] * 3


def test_a_replay_reads_the_memory_that_was_recorded() -> None:
    x, part = torch.ones(4), []
    recording = CPURecorder(CPU).record(lambda: part.append(x.view(2, 2).t()[1] + 1))
    x.copy_(torch.tensor([1.0, 2, 3, 4]))
    recording.replay()
    assert part[0].tolist() == [3, 5]


def test_backward_is_recorded_like_forward() -> None:
    gru = nn.GRU(3, 4, 2)
    x = torch.randn(5, 2, 3, requires_grad=True)
    rooms: dict[str, Tensor] = {}
    recorder = CPURecorder(CPU)

    def forward() -> None:
        rooms["y"], _ = gru(x)

    def backward() -> None:
        y = rooms["y"]
        rooms["dx"], *rooms["dw"] = torch.autograd.grad(
            y, [x, *gru.parameters()], torch.ones_like(y)
        )

    with torch.autograd.set_multithreading_enabled(False):
        recordings = [recorder.record(forward), recorder.record(backward)]
    with torch.no_grad():
        x.data.normal_()
        for weight in gru.parameters():
            weight.normal_()
    for recording in recordings:
        recording.replay()
    y, _ = gru(x)
    expected = torch.autograd.grad(y, [x, *gru.parameters()], torch.ones_like(y))
    assert torch.equal(rooms["y"], y)
    for found, wanted in zip([rooms["dx"], *rooms["dw"]], expected, strict=True):
        assert torch.equal(found, wanted)


def test_what_is_made_is_spoilt_before_each_replay_as_in_a_pool() -> None:
    made: list[Tensor] = []
    recording = CPURecorder(CPU).record(lambda: made.append(torch.empty(3)))
    made[0].fill_(1.0)
    recording.replay()
    assert made[0].isnan().all()


def test_a_recorder_ends_with_the_last_of_its_recordings() -> None:
    recorder = CPURecorder(CPU)
    first = recorder.record(lambda: None)
    recorder.record(lambda: None)
    del first
    with pytest.raises(RuntimeError, match="the pool of the recorder"):
        recorder.record(lambda: None)


def test_what_waits_for_a_result_is_refused() -> None:
    x = torch.ones(3)
    for work in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x[x > 0]):
        with pytest.raises(RuntimeError, match="waits for a result"):
            CPURecorder(CPU).record(work)


def test_a_generator_is_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(RuntimeError, match="draws from a generator"):
        CPURecorder(CPU).record(lambda: torch.empty(3).bernoulli_(0.5, generator=generator))


def test_a_failed_recording_leaves_what_was_there() -> None:
    total = torch.zeros(3)

    def work() -> None:
        total.add_(1)
        raise KeyError("no")

    with pytest.raises(KeyError):
        CPURecorder(CPU).record(work)
    assert total.tolist() == [0, 0, 0]


class Graph:
    """A capture into the pool fails, and says so once more at its end; one outside of it ends."""

    ended: ClassVar[list[bool]] = []
    breaks: ClassVar[bool] = True

    def capture_begin(self, pool: object = None, **_: Any) -> None:
        self._fails = self.breaks and pool is not None

    def pool(self) -> str:
        if self._fails:
            raise RuntimeError("Called CUDAGraph::pool() without a preceding successful capture.")
        return "pool"

    def capture_end(self) -> None:
        self.ended.append(not self._fails)
        if self._fails:
            raise RuntimeError("operation failed due to a previous error during capture")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Put stand-ins in the place of what a recorder asks of CUDA; more may be put there."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(Graph, "ended", [])
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    for name in ("endAllocateToPool", "releasePool", "clearCublasWorkspaces"):
        monkeypatch.setattr(torch._C, f"_cuda_{name}", lambda *_: None, raising=False)
    return monkeypatch


@pytest.mark.parametrize("breaks", [False, True])
def test_a_recording_has_workspaces_of_its_own(breaks: bool, cuda: pytest.MonkeyPatch) -> None:
    """Of cuBLAS: those for the stream are freed by whoever likes, while recordings read them."""
    own: list[str] = []
    of_the_stream = ["allocated by an eager call"]

    def work() -> None:
        own.extend(of_the_stream or ["allocated in the pool"])
        of_the_stream[:] = own

    cuda.setattr(Graph, "breaks", breaks)
    cuda.setattr(torch._C, "_cuda_clearCublasWorkspaces", of_the_stream.clear)
    with pytest.raises(RuntimeError) if breaks else nullcontext():
        CUDARecorder(torch.device("cuda", 1)).record(work)

    assert own == ["allocated in the pool"]
    assert of_the_stream == []


@pytest.mark.parametrize("work_fails", [False, True])
@pytest.mark.parametrize("knows", [False, True])
def test_allocator_and_generator_hear_of_a_capture_that_failed(
    knows: bool, work_fails: bool, cuda: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, object]] = []

    def end(device: int, pool: object) -> None:
        told.append((device, pool))
        if knows:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    cuda.setattr(torch._C, "_cuda_endAllocateToPool", end)

    def work() -> None:
        if work_fails:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError if work_fails else RuntimeError):
        CUDARecorder(torch.device("cuda", 1)).record(work)

    assert told == [(1, "pool")]
    # The generator by a capture that ends as it should.
    assert Graph.ended[-1]


@pytest.mark.parametrize("breaks", [True, False])
@pytest.mark.parametrize("torch_releases", [True, False])
def test_the_pool_is_released_once_where_a_capture_failed(
    torch_releases: bool, breaks: bool, cuda: pytest.MonkeyPatch
) -> None:
    released: list[tuple[int, object]] = []
    cuda.setattr(recorder_module, "_FAILED_GRAPHS_RELEASE", torch_releases)
    cuda.setattr(Graph, "breaks", breaks)
    cuda.setattr(torch._C, "_cuda_releasePool", lambda *which: released.append(which))

    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        CUDARecorder(torch.device("cuda", 1)).record(work)

    # A graph whose capture has ended releases it itself, in newer torch any graph.
    assert released == ([(1, "pool")] if breaks and not torch_releases else [])


def test_the_allocator_is_asked_for_what_it_keeps_while_nobody_captures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_held: list[bool] = []
    monkeypatch.setattr(
        torch.cuda, "empty_cache", lambda: is_held.append(recorder_module._CAPTURING.locked())
    )
    x, y = make_batch(n_steps=4)
    with ThreadEngine(build_model(), make_plan([4]), MSE, graphs=True) as engine:
        for _ in range(graphs.N_EAGER + 1):
            engine.train_step(Windows(x, y))
    assert is_held == [True]


def test_running_statistics_are_written_by_replays_alone() -> None:
    norm = nn.BatchNorm1d(3)
    recording = CPURecorder(CPU).record(lambda: norm(torch.ones(4, 3)))
    assert norm.running_mean.tolist() == [0, 0, 0]
    recording.replay()
    assert norm.running_mean.tolist() == pytest.approx([0.1] * 3)
