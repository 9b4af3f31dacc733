"""A worker: the process that runs a variant, or several together, one turn whenever it is asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from socket import socket
from time import process_time

from benchmarks.loopback import rank_environment, reserve_port
from benchmarks.samples import Turn, join_turns
from benchmarks.shapes import Shape
from benchmarks.variants import Variant

READY = "ready"

END_WITHIN_S = 30.0
"""All workers end at the same time, and many of them share few cores."""


def serve(
    connection: Connection, variant: Variant, shape: Shape, environment: Mapping[str, str]
) -> None:
    """Live as a worker: answer each number of steps with a `Turn`, until the other end closes."""
    # The driver ends its workers; an interrupt of the terminal reaches them too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    # Here and not above: the driver imports this module, and has no use for torch.
    from benchmarks.subject import make_subject

    subject = make_subject(variant, shape)
    connection.send(READY)
    try:
        while True:
            n_steps: int = connection.recv()
            start = process_time()
            # The turns of the others have emptied the caches.
            subject.step()
            steps = tuple(subject.step() for _ in range(n_steps))
            connection.send(Turn(steps, (process_time() - start) * 1e3))
    except EOFError:
        subject.close()


@dataclass(frozen=True)
class RankWorker:
    """The driver's end of one process.

    Attributes:
        connection: carries numbers of steps there and turns back.
        process: the process.
    """

    connection: Connection
    process: BaseProcess

    @classmethod
    def start(cls, variant: Variant, shape: Shape, environment: Mapping[str, str]) -> RankWorker:
        """Start a fresh process, not a fork."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, variant, shape, environment)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return cls(ours, process)


@dataclass(frozen=True)
class Worker:
    """The driver's end of a worker: of its process, or of all of its ranks.

    Attributes:
        variant: what it runs.
        ranks: its processes, one where it is not distributed.
        port_holder: keeps the port on which the ranks meet; None where there is one process.
    """

    variant: Variant
    ranks: tuple[RankWorker, ...]
    port_holder: socket | None

    @classmethod
    def start(cls, variant: Variant, shape: Shape) -> Worker:
        """Start the processes; `wait_until_ready` comes before the first turn."""
        if variant.n_ranks == 1:
            return cls(variant, (RankWorker.start(variant, shape, {}),), None)
        holder, port = reserve_port()
        places = range(variant.n_ranks)
        environments = [rank_environment(rank, variant.n_ranks, port) for rank in places]
        ranks = tuple(RankWorker.start(variant, shape, own) for own in environments)
        return cls(variant, ranks, holder)

    def wait_until_ready(self) -> None:
        """Wait until the model is built."""
        self._receive()

    def turn(self, n_steps: int) -> Turn:
        """Have the worker run `n_steps` measured steps and wait for them."""
        for rank in self.ranks:
            rank.connection.send(n_steps)
        turns = [turn for turn in self._receive() if isinstance(turn, Turn)]
        assert len(turns) == len(self.ranks)
        return join_turns(turns)

    def let_go(self) -> None:
        """Have the processes end."""
        for rank in self.ranks:
            rank.connection.close()

    def stop(self) -> None:
        """Wait until the processes have ended after `let_go`; kill those that do not."""
        for rank in self.ranks:
            rank.process.join(timeout=END_WITHIN_S)
            if rank.process.is_alive():
                rank.process.kill()
                rank.process.join()
        if self.port_holder is not None:
            self.port_holder.close()

    def _receive(self) -> list[object]:
        """Return an answer of each process."""
        return [self._receive_from(rank) for rank in self.ranks]

    def _receive_from(self, rank: RankWorker) -> object:
        try:
            return rank.connection.recv()
        except EOFError:
            rank.process.join()
            raise RuntimeError(
                f"the worker of {self.variant.name} ended with exit status"
                f" {rank.process.exitcode}; its error is printed above."
            ) from None
