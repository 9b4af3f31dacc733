"""Subject: something whose training step can be measured, and how it is made of a variant."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import torch

from benchmarks.samples import Step
from benchmarks.shapes import Shape
from benchmarks.variant import Variant


class Subject(Protocol):
    """Something whose training step can be measured."""

    def step(self) -> Step:
        """Run one training step and say what it took."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def make_subject(variant: Variant, shape: Shape) -> Subject:
    """Build what a variant measures; the same weights and the same batch for all variants.

    `torch.set_num_threads` sets MKL's count for the whole process, so a subject that wants more
    threads than one has a process of its own.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module, _, name = variant.subject.rpartition(".")
    subject: Subject = getattr(import_module(module), name)(variant, shape)
    return subject
