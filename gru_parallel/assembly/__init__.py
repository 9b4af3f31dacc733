"""From a checked config to the parts of a run, one file a part."""

from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.length import RunLength, run_length
from gru_parallel.assembly.memory import check_memory
from gru_parallel.assembly.module import build_module
from gru_parallel.assembly.optimizer import check_rates
from gru_parallel.assembly.planned import build_plan
from gru_parallel.assembly.start import Start, build_start
from gru_parallel.assembly.trainer import build_trainer, check_trainer, quieten_lightning

__all__ = [
    "RunLength",
    "Start",
    "build_data",
    "build_module",
    "build_plan",
    "build_start",
    "build_trainer",
    "check_memory",
    "check_rates",
    "check_trainer",
    "quieten_lightning",
    "run_length",
]
