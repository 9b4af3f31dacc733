"""Cuts one `nn.GRU` in every way and measures how far each is from it: what `verify` shows."""

from gru_parallel.verification.cuts import GRIDS, Cut, Kind, Placement, measure_cuts
from gru_parallel.verification.difference import Differences, largest_of_each
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import Answer, layers_each, measure_starts

__all__ = [
    "GRIDS",
    "Answer",
    "Cut",
    "Differences",
    "Kind",
    "Placement",
    "Settings",
    "largest_of_each",
    "layers_each",
    "measure_cuts",
    "measure_starts",
]
