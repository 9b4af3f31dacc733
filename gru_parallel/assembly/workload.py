"""From the settings to the workload: what is trained, and how many bytes its numbers have."""

from __future__ import annotations

from omegaconf import DictConfig

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.planning.cell_costs import Workload

N_STATES = {
    "ASGD": 1,
    "Adadelta": 2,
    "Adagrad": 1,
    "Adam": 2,
    "AdamW": 2,
    "Adamax": 2,
    "NAdam": 2,
    "RAdam": 2,
    "Rprop": 2,
    "SGD": 0,
    "RMSprop": 1,
}
"""By class of torch.optim, the numbers that it keeps for each parameter."""

ASSUMED_STATES = 2
"""Of an optimiser that is not known: as many as Adam's."""

_OPTIONAL_STATES = ("amsgrad", "centered", "momentum")
"""Arguments with which an optimiser keeps one number more."""


def workload(config: Config, widths: Widths) -> Workload:
    """Describe what is to be trained.

    Args:
        config: the run's settings.
        widths: of the windows.

    Raises:
        UsageError: model.bidirectional or model.h_0 does not fit the blocks.
    """
    precision = str(config.trainer.precision)
    # Mixed precision computes in 16 bits, and keeps weights in 32.
    n_bytes = 8 if precision.startswith("64") else 2 if "16" in precision else 4
    keeps_32 = n_bytes == 2 and not precision.endswith("-true")
    return Workload(
        model_spec(config, widths),
        config.data.batch_size * (widths.n_channels if config.model.per_channel else 1),
        config.n_steps,
        n_weight_copies=2 + n_optimizer_states(config.optimizer),
        bytes_per_number=4 if keeps_32 else n_bytes,
        bytes_per_activation=n_bytes,
    )


def number_type(config: Config) -> str:
    """Return what a run computes with, one of `planning.analytic.NUMBER_TYPES`."""
    precision = str(config.trainer.precision)
    if precision.startswith("64"):
        return "float64"
    if "16" in precision:
        return "bfloat16" if precision.startswith("bf16") else "float16"
    return "float32" if config.engine.tf32 is False else "tf32"


def n_optimizer_states(optimizer: DictConfig) -> int:
    """Return the numbers that an optimiser keeps for each parameter, `ASSUMED_STATES` if unknown.

    Args:
        optimizer: `_target_` and arguments.
    """
    name = str(optimizer.get("_target_")).rpartition(".")[2]
    if name not in N_STATES:
        return ASSUMED_STATES
    return N_STATES[name] + sum(bool(optimizer.get(key)) for key in _OPTIONAL_STATES)
