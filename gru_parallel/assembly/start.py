"""Where a run begins: new, from a checkpoint (ckpt_path), or only from its weights (init_from)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gru_parallel.assembly.resume import check_resume, rate_change
from gru_parallel.choices import KEEP
from gru_parallel.config.schema import Config
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.record import DataRecord
from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.checkpoint_folder import outline_of
from gru_parallel.training.progress import Progress
from gru_parallel.training.whole_state import load_part


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        ckpt_path: absolute, of the checkpoint that it is resumed from; None for a new run.
        done: progress of that checkpoint.
        words: what a person should know about it; may be empty.
        saved_at: when the checkpoint was written that it has its weights from, in seconds since
            1970; None for a new run, and where the checkpoint does not say it.
    """

    ckpt_path: Path | None = None
    done: Progress | None = None
    words: str = ""
    saved_at: float | None = None

    def with_rate(self, config: Config, module: SeriesModule, n_steps: int | None) -> Start:
        """Say, too, whether the learning rate changes where a run is resumed.

        Args:
            config: the run's settings.
            module: of the run.
            n_steps: of the optimiser, in the whole run; None for a run without a known end.
        """
        if self.ckpt_path is None or self.done is None:
            return self
        if n_steps is not None and self.done.steps >= n_steps:
            return self
        saved = read_checkpoint(self.ckpt_path, checks=False)
        return replace(self, words=self.words + rate_change(saved, config, module, n_steps))


def describe_as_before(config: Config, data: SeriesDataModule) -> None:
    """Leave the words of `data.static` in the places that the weights know them in.

    A model is as wide as there are words, so this comes before it is made.

    Args:
        config: the run's settings.
        data: of the run, of which no windows are cut yet.

    Raises:
        UsageError: the checkpoint that the run begins with cannot be read, or does not know a word
            that describes a series.
    """
    setting = "init_from" if config.ckpt_path is None else "ckpt_path"
    path = config.ckpt_path or config.init_from
    if path is None or not data.static:
        return
    # Its checksums are verified when its weights are read.
    saved = read_checkpoint(path, setting, checks=False)
    if "SeriesDataModule" not in saved:
        return
    before = DataRecord.from_state(saved["SeriesDataModule"]).static
    if [column.name for column in data.static] != [column.name for column in before]:
        return
    refits = config.ckpt_path is None and config.init_from_scaling != KEEP
    try:
        data.describe_by(
            [
                now if refits and not then.categories and not now.categories else then
                for then, now in zip(before, data.static, strict=True)
            ]
        )
    except UsageError as error:
        raise UsageError(f"{setting}={path} does not fit the data: {error}") from error


def build_start(
    config: Config, module: SeriesModule, data: SeriesDataModule, *, checks: bool = True
) -> Start:
    """Check where the run begins, and load initial weights into the module.

    Args:
        config: the run's settings.
        module: of the run; each of many ranks loads its part.
        data: of the run, described as the weights know it and not yet cut into windows; it is
            standardised as the checkpoint's run was, if that is to be resumed or its scaling kept.
        checks: whether the checksums of the checkpoint are verified; one of many ranks does it.

    Raises:
        UsageError: the checkpoint does not fit, or is damaged.
    """
    if config.ckpt_path is not None:
        saved = _read("ckpt_path", config.ckpt_path, module, checks=checks)
        if "SeriesDataModule" in saved:
            record = DataRecord.from_state(saved["SeriesDataModule"])
            if len(record.columns) == len(data.tables[0].columns):
                data.standardize_by(record.standardizer)
        # Absolute, because Hydra may change the working folder.
        done, words = check_resume(saved, config, module, data)
        return Start(config.ckpt_path.absolute(), done, words, saved.get("saved_at"))
    if config.init_from is not None:
        saved = _read("init_from", config.init_from, module, checks=checks)
        load_part(module, saved["state_dict"])
        return Start(words=_init(saved, config, data), saved_at=saved.get("saved_at"))
    return Start()


def _read(setting: str, path: Path, module: SeriesModule, *, checks: bool) -> dict[str, Any]:
    """Open a checkpoint, and check that it has all weights of the model and no others."""
    saved = read_checkpoint(path, setting, checks=checks)
    weights, expected = outline_of(saved["state_dict"]), module.state_dict()
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


def _init(saved: Mapping[str, Any], config: Config, data: SeriesDataModule) -> str:
    """Scale the data of a new run, and describe what it begins with."""
    columns = list(data.tables[0].columns)
    before = saved.get("SeriesDataModule", {}).get("columns", columns)
    scaling = "by the training part of this run's data (init_from_scaling=refit)"
    if config.init_from_scaling == KEEP:
        scaling = "as in the run that wrote it (init_from_scaling=keep)"
        _keep_scaling(saved, config, data)
    scaled = "columns"
    if config.data.scaling == "none":
        scaled = "with data.scaling=none only columns that are known ahead"
    words = (
        f"Begins with the weights of {config.init_from}; optimiser, schedule, steps and best model"
        f" are new, and {scaled} are standardised {scaling}."
    )
    if before != columns:
        words += f" Its columns were {', '.join(before)}; here they are {', '.join(columns)}."
    return words


def _keep_scaling(saved: Mapping[str, Any], config: Config, data: SeriesDataModule) -> None:
    columns = list(data.tables[0].columns)
    given = f"init_from_scaling={KEEP} cannot work: init_from={config.init_from}"
    if "SeriesDataModule" not in saved:
        raise UsageError(f"{given} does not tell its scaling; use init_from_scaling=refit.")
    record = DataRecord.from_state(saved["SeriesDataModule"])
    if record.columns != columns:
        raise UsageError(
            f"{given} knows the columns {', '.join(record.columns)}, and this run has"
            f" {', '.join(columns)}; give the same columns, or use init_from_scaling=refit."
        )
    before, now = _scaling_of(record), config.data.scaling
    if before != now:
        raise UsageError(
            f"{given} was written with data.scaling={before}, and this run has data.scaling={now};"
            f" use data.scaling={before}, or init_from_scaling=refit."
        )
    data.standardize_by(record.standardizer)


def _scaling_of(record: DataRecord) -> str:
    """Return the `data.scaling` of recorded data, which also one from Python shows."""
    # What is known ahead is always scaled.
    n_left = len(record.columns) - len(record.future)
    scales = set(zip(record.mean[:n_left], record.scale[:n_left], strict=True))
    return "none" if scales == {(0.0, 1.0)} else "standardize"
