"""A worker process: builds one variant, then takes a turn whenever the driver asks for one."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import process_time

from benchmarks.samples import Turn
from benchmarks.shapes import Shape
from benchmarks.variants import Variant

READY = "ready"


def serve(connection: Connection, variant: Variant, shape: Shape) -> None:
    """Live as a worker: answer each number of steps with a `Turn`, until the other end closes."""
    # The driver ends its workers; an interrupt of the terminal reaches them too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
class Worker:
    """The driver's end of a worker process.

    Attributes:
        variant: what it runs.
        connection: carries numbers of steps there and turns back.
        process: the process.
    """

    variant: Variant
    connection: Connection
    process: BaseProcess

    @classmethod
    def start(cls, variant: Variant, shape: Shape) -> Worker:
        """Start a fresh process, not a fork; `wait_until_ready` comes before the first turn."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, variant, shape), daemon=True)
        process.start()
        theirs.close()
        return cls(variant, ours, process)

    def wait_until_ready(self) -> None:
        """Wait until the model is built."""
        self._receive()

    def turn(self, n_steps: int) -> Turn:
        """Have the worker run `n_steps` measured steps and wait for them."""
        self.connection.send(n_steps)
        turn = self._receive()
        assert isinstance(turn, Turn)
        return turn

    def stop(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _receive(self) -> object:
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"the worker of {self.variant.name} ended with exit status"
                f" {self.process.exitcode}; its error is printed above."
            ) from None
