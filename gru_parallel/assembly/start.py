"""Where a run begins: new, from a checkpoint (ckpt_path), or only from its weights (init_from)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gru_parallel.assembly.resume import check_resume
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.progress import Progress
from gru_parallel.training.whole_state import load_part


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        ckpt_path: absolute, of the checkpoint that it is resumed from; None for a new run.
        done: progress of that checkpoint.
        words: what a person should know about it; may be empty.
    """

    ckpt_path: Path | None = None
    done: Progress | None = None
    words: str = ""


def build_start(config: Config, module: SeriesModule, data: SeriesDataModule) -> Start:
    """Check where the run begins, and load initial weights into the module.

    Args:
        config: the run's settings.
        module: of the run; each of many ranks loads its part.
        data: of the run.

    Raises:
        UsageError: the checkpoint does not fit.
    """
    if config.ckpt_path is not None:
        saved = _read("ckpt_path", config.ckpt_path, module)
        # Absolute, because Hydra may change the working folder.
        return Start(config.ckpt_path.absolute(), *check_resume(saved, config, module, data))
    if config.init_from is not None:
        saved = _read("init_from", config.init_from, module)
        load_part(module, saved["state_dict"])
        return Start(words=_say_init(saved, config.init_from, data))
    return Start()


def _read(setting: str, path: Path, module: SeriesModule) -> dict[str, Any]:
    """Open a checkpoint, and check that it has all weights of the model and no others."""
    saved = read_checkpoint(path, setting)
    weights, expected = saved["state_dict"], module.state_dict()
    unfit = f"{setting}={path} does not fit the model:"
    remedy = "set model.* and data.* as in the config.yaml of the run that wrote it."
    for name, weight in expected.items():
        if name not in weights:
            raise UsageError(f"{unfit} it has no {name}; {remedy}")
        saved_shape, shape = tuple(weights[name].shape), tuple(weight.shape)
        if saved_shape != shape:
            raise UsageError(
                f"{unfit} {name} has shape {saved_shape} in it, {shape} in the model; {remedy}"
            )
    extra = sorted(weights.keys() - expected.keys())
    if extra:
        raise UsageError(f"{unfit} the model has no {extra[0]}; {remedy}")
    return saved


def _say_init(saved: Mapping[str, Any], path: Path, data: SeriesDataModule) -> str:
    words = (
        f"Begins with the weights of {path}; optimiser, schedule, steps and best model are new, and"
        " columns are standardised by the training part of this run's data."
    )
    columns = list(data.tables[0].columns)
    before = saved.get("SeriesDataModule", {}).get("columns", columns)
    if before != columns:
        words += f" Its columns were {', '.join(before)}; here they are {', '.join(columns)}."
    return words
