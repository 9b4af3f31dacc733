"""`python -m benchmarks depth`: whether deeper stacks of as many parameters forecast better."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.depth.cases import DEPTHS, ETTH1, LAYERS, TASKS, Case, Task, case_of
from benchmarks.depth.numbers import Run, StackNumbers, best, read_numbers, shown
from benchmarks.etth1.command import SERIES
from benchmarks.etth1.systems import check_series
from benchmarks.tables import TextTable
from benchmarks.training import QUICK, FinishedRuns, Found, seeds_of, train


class DepthBenchmark(Benchmark[StackNumbers]):
    """See `Benchmark`."""

    name = "depth"
    about = "errors of stacks of 1 to 8 layers with as many parameters"
    legend = (
        "Mean and standard deviation over the seeds. How layers are joined was chosen by the"
        " validation loss of the first seed. Runs that have finished are kept in"
        " benchmarks/results/runs, and not run again."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add what is forecast, and how often."""
        parser.add_argument("--seeds", type=positive, default=3, help="runs of each stack (3)")
        parser.add_argument("--tasks", nargs="+", choices=TASKS, default=tuple(TASKS), help="(all)")
        parser.add_argument("--data", type=Path, default=SERIES, help="ETTh1.csv")
        FinishedRuns.add_options(parser)

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        return f"--seeds {options.seeds} --tasks {' '.join(options.tasks)}"

    def measure(self, options: Namespace, console: Console) -> Iterator[StackNumbers]:
        """Train all kinds of stacks with the first seed, and the best of each depth with all.

        Raises:
            UsageError: ETTh1 is not there, or a run failed.
        """
        for name in options.tasks:
            task = TASKS[name]
            if task is ETTH1:
                check_series(options.data)
            for depth in DEPTHS:
                with console.status(f"{task.title}, layers: {depth}"):
                    yield from self._at_depth(task, depth, options)

    def _at_depth(self, task: Task, depth: int, options: Namespace) -> Iterator[StackNumbers]:
        first, *others = seeds_of(options)
        tried = [
            stack
            for layers in LAYERS
            if (stack := self._stack(case_of(task, depth, layers), [first], options)) is not None
        ]
        if not tried:
            return
        chosen = best(tried)
        for stack in tried:
            if stack is not chosen:
                yield stack
                continue
            rest = self._stack(case_of(task, depth, stack.layers), others, options)
            yield stack if rest is None else replace(stack, runs=(*stack.runs, *rest.runs))

    def _stack(self, case: Case, seeds: Sequence[int], options: Namespace) -> StackNumbers | None:
        settings = case.settings(options.data.absolute())
        finished = FinishedRuns(self.name, options)
        runs = []
        for seed in seeds:
            own = [*settings, f"seed={seed}", *(QUICK if options.quick else ())]
            found = finished.get("stack", settings, seed, partial(_train, own))
            if found is not None:
                runs.append(Run(seed, **found))
        if not runs:
            return None
        names = case.task.title, case.depth, case.layers, case.hidden_size, case.n_parameters
        return StackNumbers(*names, tuple(runs))

    def tables(self, numbers: Sequence[StackNumbers]) -> Iterator[TextTable]:
        """Make the tables of each series: what was chosen, and what it was chosen from."""
        for task in dict.fromkeys(stack.task for stack in numbers):
            by_depth: dict[int, list[StackNumbers]] = {}
            for stack in numbers:
                if stack.task == task:
                    by_depth.setdefault(stack.depth, []).append(stack)
            rows = tuple(_chosen_row(best(stacks)) for stacks in by_depth.values())
            yield TextTable(task, HEADINGS, rows)
            tried = tuple(_tried_row(depth, stacks) for depth, stacks in by_depth.items())
            yield TextTable(f"{task}: validation of seed 0", ("layers", *LAYERS), tried)

    def read(self, entries: Mapping[str, Any]) -> StackNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


HEADINGS = (
    "layers",
    "joined",
    "hidden size",
    "parameters",
    "seeds",
    "validation MSE",
    "test MSE",
    "test MAE",
    "s per epoch",
)


def _chosen_row(stack: StackNumbers) -> tuple[str, ...]:
    return (
        str(stack.depth),
        stack.layers,
        str(stack.hidden_size),
        f"{stack.n_parameters:,}",
        str(len(stack.runs)),
        *(shown(stack.of(error)) for error in ("validation_loss", "mse", "mae")),
        shown(stack.of("epoch_s"), 1),
    )


def _tried_row(depth: int, stacks: Sequence[StackNumbers]) -> tuple[str, ...]:
    losses = {stack.layers: stack.runs[0].validation_loss for stack in stacks}
    return (
        str(depth),
        *(f"{losses[layers]:.3f}" if layers in losses else "" for layers in LAYERS),
    )


def _train(settings: Sequence[str]) -> Found:
    with TemporaryDirectory() as folder:
        summary = train(settings, Path(folder) / "run")
    steps_of_epoch = summary["steps"] / summary["epochs"]
    return {
        "validation_loss": summary["validation_loss"],
        "mse": summary["test_metrics"]["mse"],
        "mae": summary["test_metrics"]["mae"],
        "epoch_s": (summary["step_ms"] or 0.0) * steps_of_epoch / 1000,
    }


DEPTH = DepthBenchmark()
