"""Functions for the tests of the trace to count."""

from threading import Thread


class Walker:
    """A class whose methods call each other and functions beside it."""

    def walk(self) -> int:
        return sum(double(n) for n in [self.step() for _ in range(2)])

    def step(self) -> int:
        def nested() -> int:
            return double(1)

        return nested()


def double(n: int) -> int:
    return (lambda: 2 * n)()


def walk_in_a_thread() -> None:
    thread = Thread(target=Walker().walk)
    thread.start()
    thread.join()
