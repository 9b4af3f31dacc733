"""Where a run begins: new, from a checkpoint (ckpt_path), or from its weights alone (init_from)."""

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
from gru_parallel.training.resume import Progress
from gru_parallel.training.whole_state import load_own_state


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        ckpt_path: of the checkpoint that it is resumed from, wherever it runs; None for a new run.
        done: how far that checkpoint is.
        words: what a person should know of it; empty for nothing.
    """

    ckpt_path: Path | None = None
    done: Progress | None = None
    words: str = ""


def build_start(config: Config, module: SeriesModule, data: SeriesDataModule) -> Start:
    """Check where the run begins, and put weights to begin with into the module.

    Args:
        config: the run's settings.
        module: of the run; one of many ranks takes its own part.
        data: of the run.

    Raises:
        UsageError: the checkpoint does not fit.
    """
    if config.ckpt_path is not None:
        saved = _read("ckpt_path", config.ckpt_path, module)
        # Hydra may change the folder.
        return Start(config.ckpt_path.absolute(), *check_resume(saved, config, module, data))
    if config.init_from is not None:
        saved = _read("init_from", config.init_from, module)
        load_own_state(module, saved["state_dict"])
        return Start(words=_say_init(saved, config.init_from, data))
    return Start()


def _read(setting: str, path: Path, module: SeriesModule) -> dict[str, Any]:
    """Open a checkpoint, and check that it has all weights of the model and no others."""
    saved = read_checkpoint(path, setting)
    weights, own_weights = saved["state_dict"], module.state_dict()
    unfit = f"{setting}={path} does not fit the model:"
    remedy = "set model.* and data.* as in the config.yaml of the run that wrote it."
    for name, own in own_weights.items():
        if name not in weights:
            raise UsageError(f"{unfit} it has no {name}; {remedy}")
        if weights[name].shape != own.shape:
            raise UsageError(
                f"{unfit} {name} has shape {tuple(weights[name].shape)} in it, {tuple(own.shape)}"
                f" in the model; {remedy}"
            )
    extra = sorted(weights.keys() - own_weights.keys())
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
