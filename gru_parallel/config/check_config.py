"""Refuses values of a config that cannot work, alone or together."""

from __future__ import annotations

import math
from typing import Any

from gru_parallel.config.schema import Config, ProcessesConfig, as_written
from gru_parallel.errors import UsageError
from gru_parallel.model.block import POLICIES

_CHOICES = {
    "model.encoder": ("linear", "none"),
    "model.head": ("window", "every_step"),
    "model.loss": ("mse", "mae", "huber"),
    "data.split_by": ("time", "series"),
    "data.order": ("shuffled", "streams"),
    "data.missing": ("error", "interpolate", "drop"),
    "trainer.deterministic": (True, False, "warn"),
    "trainer.gradient_clip_algorithm": ("norm", "value"),
    # PyTorch's would need hooks on modules, which a pipeline does not call as wholes.
    "trainer.profiler": ("simple", "advanced"),
}


def check_config(config: Config) -> None:
    """Check every value by itself, and those that have to go together.

    Raises:
        UsageError: a value is too small, is none of the choices, or does not go with another.
    """
    _check_sizes(config)
    _check_choices(config)
    _check_grid(config)
    _check_blocks(config)
    if isinstance(config.engine, ProcessesConfig):
        _check_processes(config, config.engine)


def _check_sizes(config: Config) -> None:
    sizes = {
        "data.input_length": config.data.input_length,
        "data.horizon": config.data.horizon,
        "data.batch_size": config.data.batch_size,
        "data.stride": config.data.stride,
        "model.num_layers": config.model.num_layers,
        "model.layers_per_block": config.model.layers_per_block,
        "model.hidden_size": config.model.hidden_size,
        "schedule.n_micro_batches": config.schedule.n_micro_batches,
        "schedule.n_chunks": config.schedule.n_chunks,
        "trainer.accumulate_grad_batches": config.trainer.accumulate_grad_batches,
        "trainer.log_every_n_steps": config.trainer.log_every_n_steps,
    }
    optional = {
        "schedule.truncate": config.schedule.truncate,
        "trainer.check_val_every_n_epoch": config.trainer.check_val_every_n_epoch,
        "trainer.min_epochs": config.trainer.min_epochs,
        "trainer.min_steps": config.trainer.min_steps,
    }
    sizes |= {name: value for name, value in optional.items() if value is not None}
    for name, value in sizes.items():
        if value < 1:
            raise UsageError(f"{name}={value} is not positive; use a whole number of at least 1.")
    _check_layers(config)
    if config.data.num_workers < 0:
        raise UsageError(f"data.num_workers={config.data.num_workers} is negative; use 0 or more.")
    if not 0.0 <= config.model.dropout < 1.0:
        raise UsageError(
            f"model.dropout={config.model.dropout:g} is no probability below 1;"
            " use 0 <= model.dropout < 1."
        )
    rate = config.optimizer.get("lr", 1.0)
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not (is_number and 0 < rate < math.inf):
        raise UsageError(
            f"optimizer.lr={as_written(rate)} is no learning rate; use a number above 0."
        )


def _check_layers(config: Config) -> None:
    model = config.model
    if model.layers_per_block > model.num_layers:
        raise UsageError(
            f"model.layers_per_block={model.layers_per_block} exceeds the layers that there are"
            f" (model.num_layers={model.num_layers});"
            f" use model.layers_per_block <= {model.num_layers}."
        )


def _check_processes(config: Config, engine: ProcessesConfig) -> None:
    if engine.data_parallel < 1:
        raise UsageError(
            f"engine.data_parallel={engine.data_parallel} is not positive; use a whole number of at"
            " least 1."
        )
    if not engine.timeout_s > 0:
        raise UsageError(
            f"engine.timeout_s={engine.timeout_s:g} is no time; use a number of seconds above 0."
        )
    n_rows = config.data.batch_size // engine.data_parallel
    if config.schedule.n_micro_batches > n_rows:
        raise UsageError(
            f"schedule.n_micro_batches={config.schedule.n_micro_batches} exceeds the {n_rows}"
            f" windows of a replica's batch (data.batch_size={config.data.batch_size},"
            f" engine.data_parallel={engine.data_parallel}); use fewer of both, or larger batches."
        )
    if config.trainer.precision in ("16-mixed", "16", 16):
        raise UsageError(
            "trainer.precision=16-mixed scales the loss by what one process sees of the gradients,"
            " and with engine=processes each sees its own; use trainer.precision=bf16-mixed."
        )


def _check_choices(config: Config) -> None:
    for name, choices in _CHOICES.items():
        section, key = name.split(".")
        value = getattr(getattr(config, section), key, choices[0])
        # What may be left open, the schema says.
        if value is not None and value not in choices:
            words = ", ".join(str(as_written(choice)) for choice in choices)
            raise UsageError(f"{name}={as_written(value)} is no choice; use one of {words}.")


def _check_blocks(config: Config) -> None:
    both_ways = _as_list(config.model.bidirectional)
    if not all(isinstance(answer, bool) for answer in both_ways):
        raise UsageError(
            f"model.bidirectional={_shown(both_ways)} has the wrong type; give true or false, or"
            " one of them for each block in brackets."
        )
    policies = _as_list(config.model.h_0)
    for policy in policies:
        if policy not in POLICIES:
            raise UsageError(
                f"model.h_0={_shown(policies)}: {policy} is no choice; use one of"
                f" {', '.join(POLICIES)}, or one of them for each block in brackets."
            )
    if "given" in policies:
        raise UsageError(
            "model.h_0=given needs windows that bring an h_0 of their own, which no file does; use"
            " another policy, or train from Python with batches that have an 'h_0'."
        )
    if "carry" in policies and config.data.order != "streams":
        raise UsageError(
            f"model.h_0=carry goes on from window to window, but data.order={config.data.order}"
            " mixes them up; set data.order=streams."
        )


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _shown(values: list[Any]) -> str:
    return str(as_written(values[0] if len(values) == 1 else values))


def _check_grid(config: Config) -> None:
    schedule, data = config.schedule, config.data
    if schedule.n_chunks > data.input_length:
        raise UsageError(
            f"schedule.n_chunks={schedule.n_chunks} exceeds the {data.input_length} time steps of a"
            f" window (data.input_length={data.input_length});"
            f" use schedule.n_chunks <= {data.input_length}."
        )
    if schedule.truncate is not None and schedule.truncate >= schedule.n_chunks:
        raise UsageError(
            f"schedule.truncate={schedule.truncate} cuts nothing: a window has schedule.n_chunks="
            f"{schedule.n_chunks} chunks; use a smaller schedule.truncate, or leave it out."
        )
    if schedule.n_micro_batches > data.batch_size:
        raise UsageError(
            f"schedule.n_micro_batches={schedule.n_micro_batches} exceeds the {data.batch_size}"
            f" windows of a batch (data.batch_size={data.batch_size});"
            f" use schedule.n_micro_batches <= {data.batch_size}."
        )
