"""From a checked config to the parts of a run, one file a part."""

from gru_parallel.build.checkpoint import check_checkpoint
from gru_parallel.build.data import build_data
from gru_parallel.build.module import Part, build_module
from gru_parallel.build.plan import Planned, build_plan
from gru_parallel.build.trainer import build_trainer, check_trainer

__all__ = [
    "Part",
    "Planned",
    "build_data",
    "build_module",
    "build_plan",
    "build_trainer",
    "check_checkpoint",
    "check_trainer",
]
