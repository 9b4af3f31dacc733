"""Benchmark: what a sub-command of `python -m benchmarks` has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from rich.console import Console

from benchmarks.machine import Machine, this_machine
from benchmarks.tables import TextTable

Numbers = TypeVar("Numbers")


class Benchmark(ABC, Generic[Numbers]):
    """One question, how it is measured and how the answer is shown.

    Attributes:
        name: of the sub-command, and of the section of the README.
        about: what it measures, for --help.
        legend: a sentence below the tables on the terminal.
    """

    name: str
    about: str
    legend: str

    @abstractmethod
    def add_options(self, parser: ArgumentParser) -> None:
        """Add what only this sub-command takes; all take --quick, --save and --write-readme."""

    @abstractmethod
    def repeat_with(self, options: Namespace) -> str:
        """Return the options that repeat a measurement, --quick aside."""

    def machine(self, options: Namespace) -> Machine:
        """Describe the machine that this runs on, as far as the numbers depend on it."""
        del options
        return this_machine()

    @abstractmethod
    def measure(self, options: Namespace, console: Console) -> Iterable[Numbers]:
        """Measure, with the progress shown on the console."""

    @abstractmethod
    def tables(self, numbers: Sequence[Numbers]) -> Iterator[TextTable]:
        """Make the tables of a measurement."""

    @abstractmethod
    def read(self, entries: Mapping[str, Any]) -> Numbers:
        """Read one of the numbers from what `dataclasses.asdict` made of it."""


def positive(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value
