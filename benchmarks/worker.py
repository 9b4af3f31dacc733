"""A worker: the processes that run one variant or several, a turn whenever they are asked."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from socket import socket

from benchmarks.loopback import rank_environment, reserve_port
from benchmarks.samples import Turn, join_turns
from benchmarks.shapes import Shape
from benchmarks.variant import Variant

READY = "ready"

END_WITHIN_S = 30.0
"""All workers end at the same time, and many of them share few cores."""


@dataclass(frozen=True)
class Request:
    """What the driver asks a process for.

    Attributes:
        variant: whose turn it is.
        n_steps: measured steps of the turn.
        with_memory: whether to measure the memory of a step, too.
    """

    variant: Variant
    n_steps: int
    with_memory: bool


def serve(
    connection: Connection,
    variants: Sequence[Variant],
    shape: Shape,
    environment: Mapping[str, str],
) -> None:
    """Live as a worker: answer each request with a `Turn`, until the other end closes."""
    # The driver ends its workers; an interrupt of the terminal reaches them too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    # Here and not above: the driver imports this module, and has no use for torch.
    from benchmarks.subject import make_subject
    from benchmarks.turns import TurnTaker

    subjects = {variant: TurnTaker(make_subject(variant, shape)) for variant in variants}
    connection.send(READY)
    try:
        while True:
            request: Request = connection.recv()
            subject = subjects[request.variant]
            connection.send(subject.take_turn(request.n_steps, with_memory=request.with_memory))
    except EOFError:
        for subject in subjects.values():
            subject.close()


@dataclass(frozen=True)
class RankWorker:
    """The driver's end of one process.

    Attributes:
        connection: carries requests there and turns back.
        process: the process.
    """

    connection: Connection
    process: BaseProcess

    @classmethod
    def start(
        cls, variants: Sequence[Variant], shape: Shape, environment: Mapping[str, str]
    ) -> RankWorker:
        """Start a fresh process, not a fork."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, variants, shape, environment)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return cls(ours, process)


@dataclass(frozen=True)
class Worker:
    """The driver's end of a worker: of its process, or of all of its ranks.

    Attributes:
        variants: what it runs; all of them have the same number of ranks.
        ranks: its processes, one where it is not distributed.
        port_holder: keeps the port on which the ranks meet; None where there is one process.
    """

    variants: tuple[Variant, ...]
    ranks: tuple[RankWorker, ...]
    port_holder: socket | None

    @classmethod
    def start(cls, variants: tuple[Variant, ...], shape: Shape) -> Worker:
        """Start the processes; `wait_until_ready` comes before the first turn."""
        n_ranks = variants[0].n_ranks
        holder: socket | None = None
        environments: list[dict[str, str]] = [{}]
        if n_ranks > 1:
            holder, port = reserve_port()
            environments = [rank_environment(rank, n_ranks, port) for rank in range(n_ranks)]
        with importing_from(variants[0].import_from):
            ranks = tuple(RankWorker.start(variants, shape, own) for own in environments)
        return cls(variants, ranks, holder)

    def wait_until_ready(self) -> None:
        """Wait until the models are built.

        Raises:
            RuntimeError: a process has ended.
        """
        self._receive()

    def turn(self, variant: Variant, n_steps: int, *, with_memory: bool = False) -> Turn:
        """Have the worker run `n_steps` measured steps of a variant and wait for them.

        Raises:
            RuntimeError: a process has ended.
        """
        for rank in self.ranks:
            with self._expecting_life_of(rank):
                rank.connection.send(Request(variant, n_steps, with_memory))
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
        """Return an answer of each process.

        All are listened to at once: those that live may wait for one that has ended.
        """
        answers: dict[Connection, object] = {}
        while waiting := [rank for rank in self.ranks if rank.connection not in answers]:
            there = wait([rank.connection for rank in waiting])
            for rank in (rank for rank in waiting if rank.connection in there):
                with self._expecting_life_of(rank):
                    answers[rank.connection] = rank.connection.recv()
        return [answers[rank.connection] for rank in self.ranks]

    @contextmanager
    def _expecting_life_of(self, rank: RankWorker) -> Iterator[None]:
        """Say which worker has ended, should a process turn out to be gone."""
        try:
            yield
        except (EOFError, OSError):
            rank.process.join(timeout=END_WITHIN_S)
            raise RuntimeError(
                f"the worker of {', '.join(v.name for v in self.variants)} ended with exit status"
                f" {rank.process.exitcode}; its error, if it had time for one, is printed above."
            ) from None


@contextmanager
def importing_from(folder: str | None) -> Iterator[None]:
    """Have processes that are started meanwhile look in a folder first for what they import."""
    if folder is None:
        yield
        return
    # `multiprocessing` hands this list on.
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
