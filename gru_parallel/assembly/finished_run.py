"""Opens the folder of a run that has ended, to use its weights: settings, checkpoint, scaling."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gru_parallel.config.data_section import (
    CsvConfig,
    DataConfig,
    Lorenz96Config,
    OwnDataConfig,
)
from gru_parallel.config.override_run import gives, override_run
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.columns import OF_MODEL
from gru_parallel.data.record import DataRecord
from gru_parallel.data.standardize import Standardizer
from gru_parallel.errors import DataWarning, UsageError
from gru_parallel.placement import Plan
from gru_parallel.run_folder import RunFolder, one_before
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.newest import newest_first

_SOURCE = (
    "data",
    "data.path",
    "data.source",
    "data.arguments",
    "data.forcing",
    "data.dt",
    "data.seed",
)
"""Settings that name other series, the choice of a kind of data among them."""

_OTHER_DATA: Mapping[type[DataConfig], str] = {
    CsvConfig: "data.path=...",
    OwnDataConfig: "data.source=... or data.arguments=...",
    Lorenz96Config: "data.seed=...",
}
"""How a message names those of each kind of data."""

ROWS = (
    "data.time_column",
    "data.series_column",
    "data.missing",
    "data.frequency",
    "data.separator",
    "data.decimal",
    "data.thousands",
    "data.n_steps",
)
"""Settings that say which rows there are of the same series."""

SPLIT = ("data.split", "data.split_by")
"""Settings that say what is tested."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, or was interrupted, with the settings for another use of its weights.

    Attributes:
        folder: of the run, wherever it is now.
        checkpoint: path of the checkpoint that was chosen.
        saved: what is in it; tensors are only read when they are used.
        settings: of the run itself, plain values by section.
        overrides: of the run's settings, as on the command line.
        config: the run's settings with the overrides on top, columns and targets by name.
        record: columns, targets, and rows and scale of each part, as the run had them.
        plan: of the run; None if that is not known.
        words: what a person should know about the choice of the checkpoint.
        is_recognised: whether series that overrides name have turned out to be those of the run.
    """

    folder: RunFolder
    checkpoint: Path
    saved: Mapping[str, Any]
    settings: Mapping[str, Any]
    overrides: tuple[str, ...]
    config: Config
    record: DataRecord
    plan: Plan | None
    words: str
    is_recognised: bool = False

    @property
    def standardizer(self) -> Standardizer:
        """The mean and the scale of each column in the training part of the run."""
        return self.record.standardizer

    @property
    def has_own_data(self) -> bool:
        """Whether the series are those of the run: no override names others."""
        return self.is_recognised or not self.gives(*_SOURCE)

    @property
    def columns_of(self) -> str:
        """Whose columns a file has to have: its own, or those of the model; see `SeriesFile`."""
        return "" if self.has_own_data else OF_MODEL

    @property
    def other_data(self) -> str:
        """How an override names other data, as a message says it."""
        return _OTHER_DATA[type(self.config.data)]

    @property
    def has_own_parts(self) -> bool:
        """Whether training, validation and test parts are those of the run, too."""
        return self.has_own_data and not self.gives(*SPLIT)

    @property
    def tests_all(self) -> bool:
        """Whether all rows are tested: those of other data, which no override splits."""
        return not self.has_own_data and not self.gives(*SPLIT)

    def gives(self, *names: str) -> bool:
        """Whether an override gives one of these settings, or a part of it, or such a group."""
        return gives(self.overrides, names)


def open_run(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    checkpoint: str = "best",
    trains: bool = False,
) -> FinishedRun:
    """Open the folder of a run.

    Its own data is looked for where it was started, and then in the current folder. A damaged
    checkpoint of a folder is passed over, with a warning, for the one before it, or else for the
    newest good one.

    Args:
        run: its folder, or one of its checkpoints.
        overrides: of its settings, as on the command line: "data.path=new.csv",
            "placement.device_map=[cpu:0,cpu:1]", "engine=processes" ...
        checkpoint: "best" or "last", where `run` is a folder; without a best one it is the last.
        trains: whether training is resumed, so that the settings of training matter, too.

    Raises:
        UsageError: there is no such run or checkpoint, the checkpoint is not one of the commands of
            this library, or an override cannot work: it cannot be read, names no setting, or one
            that the weights fix.
    """
    folder, paths = _find(Path(run).expanduser(), checkpoint)
    path, saved = _first_good(folder, paths)
    record = _record_of(saved, path)
    settings = _settings_of(saved, folder, path)
    plan = _plan_of(saved, folder)
    if plan is not None and not gives(overrides, ("placement.path",)):
        settings = _with_cells_of(plan, settings)
    config = read_config(_by_name(override_run(settings, overrides, trains=trains), record))
    if isinstance(config.data, CsvConfig):
        started_in = _started_in(folder)
        for name in ("path", "validation_path"):
            given = getattr(config.data, name)
            if given is not None and not gives(overrides, (f"data.{name}",)):
                where: Any = {name: str(_located(given, started_in))}
                config = replace(config, data=replace(config.data, **where))
    words = _words(folder, path, saved)
    return FinishedRun(folder, path, saved, settings, tuple(overrides), config, record, plan, words)


def _find(run: Path, checkpoint: str) -> tuple[RunFolder, Iterator[Path]]:
    """Return the folder of a run, and the checkpoint that is wanted.

    Of a folder, those that are the next best if it is damaged come after it.
    """
    if not run.exists():
        raise UsageError(
            f"run={run} does not exist (looked in {run.absolute().parent}); give the folder of a"
            " run, such as outputs/2026-01-31/12-00-00."
        )
    folder = RunFolder(run)
    best, last = folder.best, folder.last
    if not last.parent.is_dir() and run.parent.name == last.parent.name:
        return RunFolder(run.parent.parent), iter([run])
    if not last.parent.is_dir() and run.is_file():
        return RunFolder(run.parent), iter([run])
    if not folder.all_checkpoints:
        raise UsageError(
            f"run={run} holds no checkpoint (looked for {last}); give the folder of a run that has"
            " written one."
        )
    return folder, _in_order(folder, last if checkpoint == "last" else best)


def _in_order(folder: RunFolder, wanted: Path) -> Iterator[Path]:
    """Yield the checkpoint that is wanted, the one before it, the last one, and other newest."""
    named = dict.fromkeys((wanted, one_before(wanted), folder.last))
    first = [path for path in named if path.exists()]
    yield from first
    yield from (path for path in newest_first(folder) if path not in first)


def _first_good(folder: RunFolder, paths: Iterator[Path]) -> tuple[Path, Mapping[str, Any]]:
    """Return the first good checkpoint, and what is in it; warn of damaged ones before it."""
    damaged: list[UsageError] = []
    for path in paths:
        try:
            saved = read_checkpoint(path, "run")
        except UsageError as error:
            damaged.append(error)
            continue
        for each in damaged:
            problem, _, _ = str(each).partition(";")
            warnings.warn(f"{problem}: passed over for {path.name}.", DataWarning, stacklevel=4)
        return path, saved
    if len(damaged) == 1:
        raise damaged[0]
    names = ", ".join(path.name for path in folder.all_checkpoints)
    raise UsageError(
        f"run={folder.path} has no good checkpoint: {names} are damaged, or not checkpoints of a"
        f" run; give another run. The first: {damaged[0]}"
    )


def _words(folder: RunFolder, path: Path, saved: Mapping[str, Any]) -> str:
    which = f"the weights of {path}, epoch {saved.get('epoch')}"
    if path == folder.last and not folder.best.exists():
        return (
            f"Uses {which}: the run has no {folder.best.name}, as nothing was validated, and the"
            " last epoch counts as the best."
        )
    return f"Uses {which}."


def _record_of(saved: Mapping[str, Any], path: Path) -> DataRecord:
    """Return what the run recorded of its data."""
    try:
        return DataRecord.from_state(saved["SeriesDataModule"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"run={path} does not tell the columns and their scaling: it was not written by"
            " gru_parallel.train, or by an earlier version; train again."
        ) from error


def _settings_of(saved: Mapping[str, Any], folder: RunFolder, path: Path) -> Mapping[str, Any]:
    """Return the settings of the run, plain values by section."""
    settings = saved.get("config")
    if settings is None and folder.config.is_file():
        settings = OmegaConf.to_container(OmegaConf.load(folder.config))
    if not settings:
        raise UsageError(
            f"run={path} does not tell the settings of its run, and beside it there is no"
            f" {folder.config.name}; use SeriesModule.load_from_checkpoint from Python."
        )
    found: Mapping[str, Any] = settings
    return found


def _plan_of(saved: Mapping[str, Any], folder: RunFolder) -> Plan | None:
    try:
        return Plan.from_json(saved.get("plan") or folder.plan.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UsageError):
        return None


def _with_cells_of(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put what the plan chose in the place of `auto`: the bits depend on how a batch is cut."""
    grid = plan.grid
    cells = {
        "name": grid.schedule,
        "n_micro_batches": grid.n_micro_batches,
        "n_chunks": grid.n_chunks,
        "truncate": grid.truncate,
        "recompute": grid.recompute,
    }
    return {
        **settings,
        "schedule": {**settings["schedule"], **cells},
        "model": {**settings["model"], "core": plan.core},
    }


def _by_name(composed: DictConfig, record: DataRecord) -> DictConfig:
    """Name the columns and targets of the run, which a setting may have left open."""
    composed.data.target = record.targets
    if "columns" in composed.data:
        composed.data.columns = record.columns[: record.widths.n_channels]
        composed.data.future = record.future or None
        composed.data.static = record.described_by or None
    return composed


def _started_in(folder: RunFolder) -> Path | None:
    """Return the folder in which the run was started, as Hydra wrote it down."""
    try:
        written = OmegaConf.load(folder.path / ".hydra" / "hydra.yaml")
        return Path(written.hydra.runtime.cwd)
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def _located(path: str, started_in: Path | None) -> Path:
    """Return where the file of a run is: relative to where it was started, or else to here."""
    given = Path(path).expanduser()
    folders = [Path.cwd()] if started_in is None else [started_in, Path.cwd()]
    candidates = [folder / given for folder in folders]
    return next((each for each in candidates if each.exists()), candidates[0])
