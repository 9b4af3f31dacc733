"""Where a run begins: new, from a checkpoint (ckpt_path), or from its weights alone (init_from)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gru_parallel.assembly.checkpoint import check_weights, read_checkpoint
from gru_parallel.assembly.going_on import check_going_on
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.training import SeriesModule
from gru_parallel.training.going_on import Progress
from gru_parallel.training.whole_state import load_own_state


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        ckpt_path: of the checkpoint that it goes on from, wherever it runs; None for a new run.
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
        going_on = check_going_on(config.ckpt_path, config, module, data)
        # Hydra may change the folder.
        return Start(config.ckpt_path.absolute(), going_on.progress, going_on.words(config))
    if config.init_from is not None:
        return Start(words=_init(config.init_from, module, data))
    return Start()


def _init(path: Path, module: SeriesModule, data: SeriesDataModule) -> str:
    saved = read_checkpoint("init_from", path)
    check_weights(f"init_from={path}", saved["state_dict"], module)
    load_own_state(module, saved["state_dict"])
    words = (
        f"Begins with the weights of {path}; optimiser, schedule, steps and best model are new, and"
        " columns are standardised by the training part of this run's data."
    )
    columns = list(data.tables[0].columns)
    before = saved.get("SeriesDataModule", {}).get("columns", columns)
    if before != columns:
        words += f" Its columns were {', '.join(before)}; here they are {', '.join(columns)}."
    return words
