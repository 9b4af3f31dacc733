"""`python -m benchmarks gpu`: the pipeline against nn.GRU on GPUs, within a stated time."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cards import cards_of
from benchmarks.gpu.cases import FULL, QUICK, Case, Way, cases
from benchmarks.gpu.crew import Crew, n_ranks_of
from benchmarks.gpu.numbers import GPUNumbers, Reading, read_numbers
from benchmarks.gpu.steps import MEASURE_S
from benchmarks.gpu.tables import tables
from benchmarks.machine import Machine, this_machine
from benchmarks.tables import TextTable

NO_TIME = "left out: it would not have ended in time"
CUDA_ONLY = (Way.NN_GRAPH, Way.LAUNCHES)
"""What a CPU cannot stand in for."""


class GPUBenchmark(Benchmark[GPUNumbers]):
    """See `Benchmark`."""

    name = "gpu"
    about = "the pipeline against nn.GRU on GPUs, with and without CUDA graphs"
    legend = (
        "step ms: until every GPU has finished; median, smallest and largest. host ms: until the"
        " call returned. peak: of tensors, of the GPU with the most. held: reserved between steps."
        " predicted: simulated from cells that were measured on one GPU, with assumed copies."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add where, and how long to measure."""
        parser.add_argument(
            "--device",
            choices=("cuda", "cpu"),
            default="cuda",
            help="cpu: logical CPU devices stand in for GPUs, for a smoke run (cuda)",
        )
        parser.add_argument(
            "--minutes",
            type=float,
            default=7.5,
            help="begin nothing that would not end by then; the most important comes first (7.5)",
        )

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        return f"--device {options.device} --minutes {options.minutes:g}"

    def machine(self, options: Namespace) -> Machine:
        """See `Benchmark`; with the GPUs."""
        machine, cards = this_machine(), cards_of(options.device)
        return replace(machine, cards=cards.models, versions=machine.versions | cards.versions)

    def measure(self, options: Namespace, console: Console) -> Iterator[GPUNumbers]:
        """Measure one case after the other, as long as there is time.

        Raises:
            UsageError: there is no GPU.
        """
        budget = Budget(options.minutes * 60)
        devices = cards_of(options.device).devices
        wanted = cases(QUICK if options.quick else FULL, len(devices))
        seconds = 0.0 if options.quick else MEASURE_S
        if options.device == "cpu":
            wanted = tuple(case for case in wanted if case.way not in CUDA_ONLY)
        with console.status("") as status, Crews(devices, seconds) as crews:
            for place, case in enumerate(wanted):
                title = f"{place + 1} of {len(wanted)}: {case.shape}, {case.precision}, {case.name}"
                status.update(title)
                own = _measure(case, crews, budget)
                if own.why_not != NO_TIME:
                    console.print(f"{title}: {_outcome(own)}", highlight=False)
                yield own

    def tables(self, numbers: Sequence[GPUNumbers]) -> Iterator[TextTable]:
        """See `Benchmark`."""
        return tables(numbers)

    def read(self, entries: Mapping[str, Any]) -> GPUNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


class Crews:
    """A crew of each size that was needed; a new one where the last has failed.

    Args:
        devices: names of those that there are.
        seconds: how long to measure the steps of a case.
    """

    def __init__(self, devices: Sequence[str], seconds: float) -> None:
        self._devices = devices
        self._seconds = seconds
        self._crews: dict[int, Crew] = {}

    def __enter__(self) -> Crews:
        return self

    def __exit__(self, *_: object) -> None:
        for n_ranks in tuple(self._crews):
            self._stop(n_ranks)

    def measure(self, case: Case, budget: Budget) -> Reading | str:
        """Have a case measured; return what was read, or why nothing was."""
        n_ranks = n_ranks_of(case)
        if n_ranks not in self._crews:
            self._crews[n_ranks] = Crew(self._devices, self._seconds, n_ranks)
            if not self._crews[n_ranks].wait_until_ready():
                self._stop(n_ranks)
                return "its process did not start"
        patience_s = budget.patience_s(case)
        answer = self._crews[n_ranks].measure(case, patience_s)
        if not isinstance(answer, Reading) or case.way is Way.LAUNCHES:
            # After most errors of CUDA's, in a capture above all, a process can do nothing more;
            # and a profiler that has run there may slow down what comes after it.
            self._stop(n_ranks)
        return f"it died, or took more than {patience_s:.0f} s" if answer is None else answer

    def _stop(self, n_ranks: int) -> None:
        self._crews.pop(n_ranks).stop()


def _measure(case: Case, crews: Crews, budget: Budget) -> GPUNumbers:
    if not budget.allows(case):
        return GPUNumbers(case, None, NO_TIME)
    start = monotonic()
    answer = crews.measure(case, budget)
    seconds = monotonic() - start
    if isinstance(answer, Reading):
        budget.note(case, seconds)
        return GPUNumbers(case, answer, seconds=seconds)
    return GPUNumbers(case, None, answer, seconds)


def _outcome(own: GPUNumbers) -> str:
    if own.reading is None:
        return own.why_not
    return f"{own.reading.step_ms:.2f} ms" if own.reading.steps_ms else "counted"


GPU = GPUBenchmark()
