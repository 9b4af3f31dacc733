"""Crew: the processes that measure cases, so that one that fails or hangs takes no other along."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from socket import socket
from time import monotonic

from benchmarks.gpu.cases import Case, Way
from benchmarks.gpu.numbers import Reading
from benchmarks.loopback import rank_environment, reserve_port

START_WITHIN_S = 60.0
END_WITHIN_S = 5.0


def serve(
    connection: Connection,
    devices: Sequence[str],
    seconds: float,
    environment: Mapping[str, str],
) -> None:
    """Live as a process of a crew: answer each case, until the other end closes."""
    # The driver ends its crew; an interrupt of the terminal reaches it too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    # Here and not above: the driver imports this module, and has no use for torch.
    import torch

    from benchmarks.gpu.measure import measure

    # A second thread of torch's would only wait for the first, by spinning.
    torch.set_num_threads(1)
    connection.send(Reading())
    try:
        while True:
            case: Case = connection.recv()
            connection.send(measure(case, devices, seconds))
    except EOFError:
        pass


class Crew:
    """One process, or one a rank, that measure cases as they are told to.

    Args:
        devices: names of those that there are.
        seconds: how long to measure the steps of a case.
        n_ranks: how many processes; 1 for one that is no rank.
    """

    def __init__(self, devices: Sequence[str], seconds: float, n_ranks: int) -> None:
        self._holder: socket | None = None
        environments: list[dict[str, str]] = [{}]
        if n_ranks > 1:
            self._holder, port = reserve_port()
            environments = [rank_environment(rank, n_ranks, port) for rank in range(n_ranks)]
        context = get_context("spawn")
        self._ends: list[Connection] = []
        self._processes = []
        for environment in environments:
            ours, theirs = context.Pipe()
            arguments = (theirs, tuple(devices), seconds, environment)
            process = context.Process(target=serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def wait_until_ready(self) -> bool:
        """Wait until torch is imported; say whether it is."""
        return isinstance(receive_all(self._ends, START_WITHIN_S), list)

    def measure(self, case: Case, timeout_s: float) -> Reading | str | None:
        """Have a case measured.

        Returns:
            What was read; in words, why nothing was; None if the crew died, or takes longer, and is
            of no more use.
        """
        try:
            for end in self._ends:
                end.send(case)
        except OSError:
            return None
        answers = receive_all(self._ends, timeout_s)
        if answers is None or isinstance(answers, str):
            return answers
        return joined(answers)

    def stop(self) -> None:
        """End the processes; kill those that do not."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(timeout=END_WITHIN_S)
            if process.is_alive():
                process.kill()
                process.join()
        if self._holder is not None:
            self._holder.close()


def receive_all(ends: Sequence[Connection], timeout_s: float) -> list[Reading] | str | None:
    """Return a reading from each end; words as soon as one says why there is none.

    The others may then wait for that one for ever. None where one has closed, or an answer does not
    come in time.
    """
    deadline = monotonic() + timeout_s
    readings: dict[Connection, Reading] = {}
    while waiting := [end for end in ends if end not in readings]:
        there = wait(waiting, max(0.0, deadline - monotonic()))
        if not there:
            return None
        for end in (end for end in waiting if end in there):
            try:
                answer: Reading | str = end.recv()
            except (EOFError, OSError):
                return None
            if isinstance(answer, str):
                return answer
            readings[end] = answer
    return [readings[end] for end in ends]


def n_ranks_of(case: Case) -> int:
    """Return how many processes a case needs."""
    return case.n_stages if case.way is Way.PEER else 1


def joined(readings: Sequence[Reading]) -> Reading:
    """Return what several ranks saw of the same steps: each ends with the last of them."""
    if len(readings) == 1:
        return readings[0]
    peaks = [r.peak_bytes for r in readings if r.peak_bytes is not None]
    held = [r.held_bytes for r in readings if r.held_bytes is not None]
    return Reading(
        steps_ms=tuple(map(max, zip(*(r.steps_ms for r in readings), strict=True))),
        queue_ms=tuple(map(max, zip(*(r.queue_ms for r in readings), strict=True))),
        peak_bytes=max(peaks, default=None),
        held_bytes=max(held, default=None),
    )
