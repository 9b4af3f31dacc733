"""Refuses values of a config that contradict each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gru_parallel.choices import AUTO
from gru_parallel.config.check_loss import check_loss
from gru_parallel.config.check_steps import check_steps
from gru_parallel.config.data_section import CsvConfig, OwnDataConfig
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.data.split import PARTS
from gru_parallel.errors import UsageError
from gru_parallel.own_names import is_own, own
from gru_parallel.placement.grid import check_chunks
from gru_parallel.planning.default_chunks import CPU_CHUNKS
from gru_parallel.rules import as_written, one_per_block

ADAM_EPS = 1e-8
"""The default of torch's Adam and of all that are like it."""

LEAST_FLOAT16 = 2.0**-24
"""The smallest number above 0 in float16."""


def check_config(config: Config) -> None:
    """Check values that depend on each other; the schema has the rules for single ones.

    Raises:
        UsageError: two do not.
    """
    _check_own(config)
    _check_validation(config)
    _check_rate(config)
    _check_layers(config)
    _check_placement(config)
    check_steps(config)
    check_loss(config)
    check_grid(config)
    _check_carry(config)
    _check_precision(config)
    _check_eps(config)


def _check_own(config: Config) -> None:
    """Import what is the user's own, so that what cannot be is refused before the run."""
    model, schedule, data = config.model, config.schedule, config.data
    named = {
        "schedule.name": schedule.name,
        "model.head": model.head,
        "model.loss": model.loss,
        "model.core": model.core,
        "data.source": data.source if isinstance(data, OwnDataConfig) else None,
    }
    for setting, name in named.items():
        if is_own(name):
            found = own(setting, name)
            if setting == "model.head":
                _check_head(name, found)


def _check_head(name: str, head: Any) -> None:
    """Refuse a head for which the stack would have to run on after the window."""
    # Of a DecoderHead only an object has it.
    if getattr(head, "n_decoding", None) != 0:
        raise UsageError(
            f"model.head={name} is a kind of DecoderHead, or does not say n_decoding = 0, and the"
            " encoder makes steps after the window for model.head=decoder alone; use that, derive"
            " yours from WindowHead or StepHead, or pass it to StackModel from Python, with a"
            " StepEncoder."
        )


def _check_validation(config: Config) -> None:
    """Refuse two validation parts."""
    split, path, data = config.data.split, config.validation_path, config.data
    if path is None or not isinstance(data, CsvConfig):
        return
    if Path(path).expanduser().resolve() == Path(data.path).expanduser().resolve():
        raise UsageError(
            f"data.validation_path={path} is data.path itself, which is trained on; name another"
            " file, or have data.split cut off a part of it."
        )
    if len(split) != len(PARTS) or split[1] == 0:
        return
    first, second, third = split
    instead = [round(first + second, 12), 0, third]
    shown, other = (
        as_written([int(n) if float(n).is_integer() else n for n in each])
        for each in (split, instead)
    )
    raise UsageError(
        f"data.validation_path={path} is what is validated on, and data.split={shown} cuts off"
        f" another validation part; use data.split={other}, or leave data.validation_path out."
    )


def _check_rate(config: Config) -> None:
    rate = config.optimizer.get("lr", 1.0)
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if not (is_number and 0 < rate < math.inf):
        raise UsageError(
            f"optimizer.lr={as_written(rate)} is not a learning rate; use a number above 0."
        )


def _check_layers(config: Config) -> None:
    model = config.model
    if model.layers_per_block > model.num_layers:
        raise UsageError(
            f"model.layers_per_block={model.layers_per_block} exceeds the layers that there are"
            f" (model.num_layers={model.num_layers});"
            f" use model.layers_per_block <= {model.num_layers}."
        )


def _check_placement(config: Config) -> None:
    """Refuse what would say once more where blocks run, beside the plan of a file."""
    placement = config.placement
    if placement.path is None:
        return
    if placement.device_map not in (None, AUTO):
        raise UsageError(
            f"placement.device_map={as_written(placement.device_map)} says where blocks run, and so"
            f" does the plan of placement.path={placement.path}; leave one of them out"
            " (placement.device_map=null takes away that of an experiment)."
        )
    if not placement.merge:
        raise UsageError(
            "placement.merge=false is about a device map, and the plan of placement.path="
            f"{placement.path} has its stages; leave it out."
        )


def _check_precision(config: Config) -> None:
    if isinstance(config.engine, ProcessesConfig) and config.trainer.scales_loss:
        raise UsageError(
            "trainer.precision=16-mixed scales the loss by what one process sees of the gradients,"
            " and with engine=processes each sees its own; use trainer.precision=bf16-mixed."
        )


def _check_eps(config: Config) -> None:
    """Refuse an optimiser that would divide by 0, and so make weights NaN, in float16."""
    eps = config.optimizer.get("eps", ADAM_EPS)
    is_adam = "Adam" in str(config.optimizer.get("_target_"))
    is_zero = isinstance(eps, int | float) and eps < LEAST_FLOAT16
    if config.trainer.precision == "16-true" and is_adam and is_zero:
        raise UsageError(
            f"optimizer.eps={eps} is 0 in float16 (trainer.precision=16-true), and"
            f" {config.optimizer['_target_']} divides by it; use +optimizer.eps=1e-4,"
            " optimizer=sgd or trainer.precision=bf16-true."
        )


def _check_carry(config: Config) -> None:
    if "carry" in one_per_block(config.model.h_0) and config.data.order != "streams":
        raise UsageError(
            f"model.h_0=carry continues from window to window, but data.order={config.data.order}"
            " mixes them up; set data.order=streams."
        )


def check_grid(config: Config) -> None:
    """Check how a batch is cut, as far as that is not left to the planner.

    Raises:
        UsageError: there are more chunks than steps, more micro-batches than windows, or nothing
            is truncated.
    """
    schedule, data = config.schedule, config.data
    length = config.model.segment_length
    of_segments = "" if length is None else f", model.segment_length={length}"
    window = f"a window (data.input_length={data.input_length}{of_segments})"
    n_chunks = schedule.n_chunks
    if n_chunks == AUTO:
        # What it comes to where gradients are truncated.
        n_chunks = min(CPU_CHUNKS, config.n_steps)
    check_chunks(n_chunks, config.n_steps, window)
    if schedule.truncate is not None and schedule.truncate >= n_chunks:
        raise UsageError(
            f"schedule.truncate={schedule.truncate} cuts nothing: a window has {n_chunks} chunks"
            f" (schedule.n_chunks={schedule.n_chunks}); use a smaller schedule.truncate, or leave"
            " it out."
        )
    n_rows = data.batch_size // config.data_parallel
    if schedule.n_micro_batches != AUTO and schedule.n_micro_batches > n_rows:
        replicas = config.data_parallel
        of = "a batch" if replicas == 1 else "a replica's batch"
        given = "" if replicas == 1 else f", engine.data_parallel={replicas}"
        raise UsageError(
            f"schedule.n_micro_batches={schedule.n_micro_batches} exceeds the {n_rows} windows of"
            f" {of} (data.batch_size={data.batch_size}{given});"
            f" use schedule.n_micro_batches <= {n_rows}, or larger batches."
        )
