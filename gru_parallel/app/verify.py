"""`python -m gru_parallel.verify`: cuts one nn.GRU in every way and shows that nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches

import torch
from omegaconf import OmegaConf
from rich.console import Console

from gru_parallel.app.cli import run_in_place
from gru_parallel.config.overrides import read_values
from gru_parallel.config.read_config import check_references, read_section
from gru_parallel.report.verification import cuts_heading, cuts_tables, starts_tables, verdict
from gru_parallel.verification import Settings, measure_cuts, measure_starts

BROKEN = 1

HELP = """python -m gru_parallel.verify [setting=value ...]

Makes one nn.GRU, cuts it in every way (blocks of 1, 2, ... layers, stages on devices, schedules,
micro-batches, chunks, one direction and both, equal and unequal lengths), and shows how far
outputs, last states and gradients are from those of the nn.GRU. Then shows what becomes of h_0 when
one GRU is made into several. Ends with status 1 if a promise is broken.

num_layers=4        layers
hidden_size=16      features of each layer
lengths=[12,7,3]    time steps of the sequences, repeated in turn until there are batch_size
batch_size=5        sequences
dtype=float64       float64 (the promise: 1e-12 of the largest entry) or float32 (1e-5)
devices=null        such as [cpu:0,cpu:1]; null: logical CPU devices, then accelerators if any
seed=0              of weights, sequences and states"""


def prepare(overrides: Sequence[str]) -> Settings:
    """Read and check the overrides.

    Raises:
        UsageError: an override cannot work.
    """
    values = read_values(overrides, [field.name for field in fields(Settings)])
    composed = OmegaConf.create(values)
    check_references(composed)
    settings = read_section("", Settings, composed)
    settings.check()
    return settings


def find_settings(name: str) -> list[str]:
    """Return the settings of a name, or of nearly that name."""
    return get_close_matches(name, [field.name for field in fields(Settings)], n=1)


def show(settings: Settings) -> int:
    """Measure and print; return the exit status."""
    # With TF32, cuDNN would keep three digits of a float32.
    torch.backends.cudnn.allow_tf32 = False
    # For tensors this small a second intra-op thread mostly waits for a core.
    torch.set_num_threads(1)
    console = Console()
    with console.status("Cutting one nn.GRU in every way"):
        cuts, answers = list(measure_cuts(settings)), list(measure_starts(settings))
    console.print(cuts_heading(settings))
    for table in (*cuts_tables(cuts, settings), *starts_tables(answers, settings)):
        console.print(table, "")
    console.print(verdict(cuts, answers, settings.tolerance))
    kept = [cut.is_kept(settings.tolerance) for cut in cuts]
    kept += [answer.is_kept(settings.tolerance) for answer in answers]
    return 0 if all(kept) else BROKEN


def main() -> int:
    """Run the command; return its exit status."""
    return run_in_place(HELP, prepare, show, find_settings)
