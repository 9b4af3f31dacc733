"""Recorders: they record what a stage queues on its device, to have it done again at one call."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Protocol

import torch

from gru_parallel.stage.cpu_recorder import CPURecorder


class Recording(Protocol):
    """Work that has been recorded."""

    def replay(self) -> None:
        """Do the work again: the same operations, on the same memory."""
        ...


class Recorder(Protocol):
    """Records work of one stage, piece by piece.

    What is recorded in one order has to be replayed in this order: a piece may use the memory of
    what pieces before it made and nothing needs any more. Tensors that the work makes stay where
    they are; each replay writes them anew. Tensors that it reads have to stay where they are.
    """

    def record(self, work: Callable[[], None]) -> Recording:
        """Record what `work` queues, without doing it.

        Raises:
            Exception: `work` did, or does what cannot be recorded, such as to wait for the device.
        """
        ...


class CUDARecorder:
    """Records CUDA graphs, in one memory pool.

    Args:
        device: of the stage.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Recording:
        """See `Recorder`; the work has to be queued on the current stream, no default stream."""
        graph = torch.cuda.CUDAGraph()
        with (
            _CAPTURING,
            torch.cuda.device(self._device),
            _workspaces_of_its_own(),
            _no_word_of_empty_graphs(),
        ):
            # Other stages' threads may do as they like meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                work()
                graph.capture_end()
            except BaseException:
                self._end_anyway(graph)
                raise
        return graph

    def _end_anyway(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a capture that has failed, which says so once more, and tell those that must know."""
        with suppress(RuntimeError):
            graph.capture_end()
        # In older torch (pytorch/pytorch#180395) the allocator has not heard of it, and then keeps
        # for ever what several streams have used; where it has, it says so.
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(self._device.index, self._pool)
        if not _FAILED_GRAPHS_RELEASE and not _has_ended(graph):
            # What the stage has recorded so far would be held for ever.
            with suppress(RuntimeError):
                torch._C._cuda_releasePool(self._device.index, self._pool)
        # Neither has the default generator there, and would refuse to draw from then on: a capture
        # that ends well tells it.
        with suppress(RuntimeError):
            empty = torch.cuda.CUDAGraph()
            empty.capture_begin(capture_error_mode="thread_local")
            empty.capture_end()


def _has_ended(graph: torch.cuda.CUDAGraph) -> bool:
    """Say whether a graph's capture has ended well."""
    try:
        graph.pool()
    except RuntimeError:
        return False
    return True


_FAILED_GRAPHS_RELEASE = bool(torch.version.hip) or torch.__version__ >= "2.14.dev0"
"""Whether a graph gives back its share of the pool even if its capture has failed: since
pytorch/pytorch#190348, which AMD has in its earlier versions, too. To release it twice would end
the process later."""

_CAPTURING = Lock()
"""Held by the one that captures: torch's allocator would mix up the memory of several."""


def free_cached_memory() -> None:
    """Have the allocator give back what it keeps, which it cannot do while anybody captures."""
    with _CAPTURING:
        torch.cuda.empty_cache()


@contextmanager
def _workspaces_of_its_own() -> Iterator[None]:
    """Have a capture take cuBLAS's workspaces from its pool, where they last as long as it does."""
    # Those that cuBLAS has for a stream otherwise are baked in and freed by others: by any graph of
    # this stream that goes (torch from 2.12 on: pytorch/pytorch#193402), by Lightning's Trainer.
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


@contextmanager
def _no_word_of_empty_graphs() -> Iterator[None]:
    # At a barrier in time a stage only keeps a cell: there is nothing to queue.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
        yield


def make_recorder(device: torch.device) -> Recorder:
    """Return a recorder for a device."""
    return CUDARecorder(device) if device.type == "cuda" else CPURecorder(device)
