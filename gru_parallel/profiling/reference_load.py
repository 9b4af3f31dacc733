"""How fast the machine is just now: a fixed load on its cores, timed between samples.

Other guests of a shared host can slow this one by a third for seconds at a time, without a trace in
the counters of the system. What was timed meanwhile says nothing of an undisturbed run.
"""

from __future__ import annotations

from statistics import median
from threading import Barrier, Thread
from time import perf_counter

import torch
from torch import nn

_SIZE, _N_STEPS, _N_ROWS = 128, 16, 32
_N_RUNS = 5
_N_FIRST = 20

TOLERANCE = 0.06
"""By so much more than usual the load may take on an undisturbed machine."""


class ReferenceLoad:
    """A layer of `nn.GRU` on each of some threads, forward.

    Args:
        n_threads: as many as are to be busy.
    """

    def __init__(self, n_threads: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self._x = torch.randn(_N_STEPS, _N_ROWS, _SIZE, generator=generator)
        # Without drawing weights, which would move the random numbers of others.
        with torch.random.fork_rng(devices=[]):
            self._layers = [nn.GRU(_SIZE, _SIZE) for _ in range(n_threads)]
        self._taken_ms: list[float] = []
        for _ in range(_N_FIRST):
            self.is_undisturbed()

    def is_undisturbed(self) -> bool:
        """Whether the machine is now about as fast as it has ever been.

        The lower quartile of all that was taken so far counts for that.
        """
        taken_ms = self._run_ms()
        self._taken_ms.append(taken_ms)
        usual_ms = sorted(self._taken_ms)[len(self._taken_ms) // 4]
        return taken_ms <= (1 + TOLERANCE) * usual_ms

    def _run_ms(self) -> float:
        taken: list[float] = []
        together = Barrier(len(self._layers))

        def run(layer: nn.GRU) -> None:
            with torch.inference_mode():
                for _ in range(_N_RUNS):
                    together.wait()
                    start = perf_counter()
                    layer(self._x)
                    taken.append(1e3 * (perf_counter() - start))

        # As a worker of an engine does.
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        threads = [Thread(target=run, args=(layer,)) for layer in self._layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        torch.set_num_threads(n_threads)
        return median(taken)
