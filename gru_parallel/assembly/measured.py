"""From the settings to what is measured on this machine: the parts of a run, and a few plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gru_parallel.assembly.model import build_model, loss_of
from gru_parallel.assembly.optimizer import optimizer_maker
from gru_parallel.assembly.workload import number_type
from gru_parallel.choices import AUTO
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.engine.tf32 import tf32
from gru_parallel.model import StackModel, Windows
from gru_parallel.placement import Cluster
from gru_parallel.planning import Planned
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.profile import Profile, Trial
from gru_parallel.profiling.measure import measure
from gru_parallel.profiling.pipelines import Precision
from gru_parallel.profiling.trials import run_trials

_TYPES = {
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def measure_profile(
    config: Config,
    workload: Workload,
    cluster: Cluster,
    cores: Sequence[str],
    key: Mapping[str, Any],
    *,
    replays: bool,
) -> Profile:
    """Measure the parts of a run.

    Args:
        config: the run's settings.
        workload: what is trained.
        cluster: of this machine.
        cores: that layers are to be measured with.
        key: all that the numbers depend on.
        replays: whether accelerators replay recorded steps.
    """
    with tf32(config.engine.tf32), torch.random.fork_rng(devices=[]):
        return measure(
            workload,
            cluster,
            cores,
            key=key,
            precision=_precision(config),
            make_optimizer=optimizer_maker(config.optimizer),
            replays=replays,
        )


def measure_trials(config: Config, widths: Widths, tried: Sequence[Planned]) -> tuple[Trial, ...]:
    """Run plans of the run's model, on windows of random numbers.

    Args:
        config: the run's settings.
        widths: of the windows.
        tried: the plans.
    """
    precision = _precision(config)

    def model_with(core: str) -> StackModel:
        return _model(config, widths, core).to(precision.weights)

    with tf32(config.engine.tf32), torch.random.fork_rng(devices=[]):
        model = model_with(tried[0].plan.core)
        windows = _windows(config, widths, model, precision.weights)
        loss, asked = loss_of(config, model.output), config.engine.graphs
        graphs = None if asked == AUTO else bool(asked)
        return run_trials(tried, model_with, windows, loss, precision, graphs)


def _model(config: Config, widths: Widths, core: str) -> StackModel:
    return build_model(replace(config, model=replace(config.model, core=core)), widths)


def _windows(config: Config, widths: Widths, model: StackModel, dtype: torch.dtype) -> Windows:
    """Make a batch that a model takes, with targets that every loss takes."""
    n_rows, length, horizon = config.data.batch_size, config.data.input_length, config.data.horizon
    n_ahead = length if model.head.every_step else horizon

    def drawn(*shape: int) -> torch.Tensor | None:
        return torch.randn(n_rows, *shape, dtype=dtype) if shape[-1] > 0 else None

    return Windows(
        torch.randn(n_rows, length, widths.n_channels + widths.n_known, dtype=dtype),
        torch.ones(n_rows, n_ahead, widths.n_targets, dtype=dtype),
        future=drawn(horizon, widths.n_known),
        static=drawn(widths.n_static),
    )


def _precision(config: Config) -> Precision:
    computed = _TYPES.get(number_type(config), torch.float32)
    if str(config.trainer.precision).endswith("mixed"):
        return Precision(torch.float32, computed)
    return Precision(computed)
