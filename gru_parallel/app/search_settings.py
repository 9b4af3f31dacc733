"""The command line of `search`: its own settings, the run's, and what is to be searched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.config.overrides import check_sweep, compose_config, parse_override, read_values
from gru_parallel.config.read_config import check_references, read_config
from gru_parallel.config.read_section import read_section
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.config.setting_names import full_names
from gru_parallel.errors import UsageError
from gru_parallel.own_names import head_task
from gru_parallel.ranks.launch import Launch
from gru_parallel.report.comparison import what_is_forecast
from gru_parallel.rules import Count, as_written

SEARCH_HELP = """gru-parallel search setting=SPACE [setting=SPACE ...] [setting=value ...]

Trains one run after the other. The values of the settings that have a space are chosen by what the
runs before came to (optuna's TPE: pip install 'gru-parallel[optuna]'): the lowest val/loss is the
best, and the test chooses nothing. Ends with the table of `gru-parallel compare`. The same command
with folder=DIR goes on where it was stopped.

'optimizer.lr=tag(log,interval(1e-4,1e-2))'  a number between these, by its logarithm
'model.dropout=interval(0,0.5)'              a number between these
'model.hidden_size=int(interval(16,128))'    a whole number from the first to the second
'model.num_layers=range(1,9)'                1, 2, ... 8
schedule=gpipe,one_f_one_b                   one of these
'+optimizer.weight_decay=interval(0,0.1)'    an argument that is not there yet

n_trials=20         runs in all, those that the folder holds already included
folder=DIR          of the search; null: search/<date>/<time>
prune=false         true: a run whose lowest validation loss so far is above the median of those
                    before it at that epoch ends there, without a test

All other settings are those of train, whose seed is that of the search, too."""

_OWN_FOLDER = ("hydra.run.dir", "hydra.sweep.dir", "ckpt_path")

_FIXED = ("data", "model.loss", "model.quantiles")
"""Settings that change what `val/loss` is."""

_LENGTHS = ("data.input_length", "data.min_input_length")
"""Settings of how many rows come before the first forecast of a series."""

_OF_BATCHES = ("data.batch_size", "data.order")
"""Settings of which windows a batch has."""


@dataclass(frozen=True)
class SearchSettings:
    """The settings of `python -m gru_parallel.search`.

    Attributes:
        n_trials: runs in all.
        folder: of the search; None for a new one.
        prune: whether runs that are worse than the median end early.
    """

    n_trials: Count = 20
    folder: str | None = None
    prune: bool = False


@dataclass(frozen=True)
class Space:
    """The values that a setting may have.

    Attributes:
        key: of its overrides: the name of the setting, with a plus if that adds it.
        choices: the values, as on the command line; empty for numbers between two.
        low, high: the smallest and the largest number; whole ones are int.
        step: from one number to the next; None for any between.
        is_log: whether the logarithm is what is searched.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    is_log: bool = False

    @property
    def name(self) -> str:
        """Name of the setting, or of the group."""
        return str(parse_override(self.example).key_or_group)

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are whole ones."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def example(self) -> str:
        """A value, as an override."""
        return f"{self.key}={self.choices[0] if self.choices else self.low}"

    @property
    def options(self) -> tuple[str, ...]:
        """The choices of a config group, as overrides; none of a setting in a section."""
        return () if "." in self.name else tuple(f"{self.key}={each}" for each in self.choices)


@dataclass(frozen=True)
class SearchLine:
    """The command line of a search.

    Attributes:
        settings: of the search.
        fixed: overrides of the run that stay the same.
        spaces: what is searched.
        given: fixed overrides and spaces, as they were given.
    """

    settings: SearchSettings
    fixed: tuple[str, ...]
    spaces: tuple[Space, ...]
    given: tuple[str, ...]

    @property
    def example(self) -> list[str]:
        """The overrides of a run that the search may come to."""
        return [*self.fixed, *(space.example for space in self.spaces)]


def read_search_line(arguments: Sequence[str]) -> SearchLine:
    """Read the command line, without the program and without flags.

    Raises:
        UsageError: an argument cannot be read, there is no space, or one cannot be searched.
    """
    known = [field.name for field in fields(SearchSettings)]
    own, fixed, spaces, given = [], [], [], []
    for text in arguments:
        override = parse_override(text)
        if override.key_or_group in known:
            own.append(text)
            continue
        given.append(text)
        if override.is_sweep_override():
            spaces.append(_space(override))
        elif override.key_or_group in _OWN_FOLDER:
            raise UsageError(
                f"{text} is for one run, and a search gives each its own; name a folder for all of"
                " them, folder=DIR."
            )
        else:
            fixed.append(text)
    composed = OmegaConf.create(read_values(own, known))
    check_references(composed)
    settings = read_section("", SearchSettings, composed)
    if not spaces:
        raise UsageError(
            "Nothing is to be searched; give a setting several values, as in model.num_layers=2,4"
            " or 'optimizer.lr=tag(log,interval(1e-4,1e-2))'."
        )
    line = SearchLine(settings, tuple(fixed), tuple(spaces), tuple(given))
    check_sweep(line.example)
    return line


def _space(override: Override) -> Space:
    """Read a space.

    Raises:
        UsageError: it is empty, or must not be searched.
    """
    text = str(override.input_line)
    space = _values(override, override.get_key_element(), text)
    _check_comparable(space.name, text, space.choices or (space.low, space.high))
    return space


def _check_comparable(name: str, text: str, values: Sequence[Any]) -> None:
    """Check that `val/loss` is the same thing with each value of a setting.

    Args:
        name: of the setting, or of the group.
        text: what gives it these values.
        values: several.
    """
    if name == "seed":
        raise UsageError(
            f"{text} would choose the luckiest seed; search with one, and train the best settings"
            " over several: gru-parallel train -m seed=0,1,2 ..."
        )
    if name in _FIXED or len({what_is_forecast(name, value) for value in values}) > 1:
        raise UsageError(
            f"{text} would compare losses of other forecasts or of another kind; search what"
            " leaves val/loss comparable, and give this one value."
        )


def _values(override: Override, key: str, text: str) -> Space:
    value: Any = override.value()
    ends = [getattr(value, name, None) or 0 for name in ("start", "stop", "end")]
    if not all(map(math.isfinite, ends)):
        raise UsageError(f"{text} has no end; give a first and a last number.")
    if isinstance(value, IntervalSweep):
        return _between(key, text, value)
    if getattr(value, "tags", None):
        raise UsageError(f"{text} has a tag, which only an interval can have; leave it out.")
    # It is the search that decides about the order, and each time it has to find the same choices.
    value.shuffle = False
    try:
        choices = tuple(override.sweep_string_iterator())
        numbers: list[Any] = list(override.sweep_iterator()) if override.is_range_sweep() else []
    except (HydraException, OmegaConfBaseException):
        choices, numbers = (), []
    if not choices:
        raise UsageError(f"{text} gives a search no values; list them, as in {key}=a,b.")
    if len(numbers) > 1:
        low, high = sorted((numbers[0], numbers[-1]))
        return Space(key, low=low, high=high, step=abs(numbers[1] - numbers[0]))
    return Space(key, choices)


def _between(key: str, text: str, value: IntervalSweep) -> Space:
    low, high = value.start, value.end
    is_log = "log" in value.tags
    assert low is not None
    assert high is not None
    if not low < high or (is_log and low <= 0):
        raise UsageError(
            f"{text} gives a search no values; the first number has to be below the second, and"
            " with the tag log above 0."
        )
    if value.tags - {"log"}:
        raise UsageError(f"{text} has another tag than log; use tag(log,interval({low},{high})).")
    return Space(key, low=low, high=high, is_log=is_log)


def check_search(line: SearchLine) -> Config:
    """Check a search before its first run.

    Returns:
        The config of a run that it may come to.

    Raises:
        UsageError: such a run cannot work, has no validation, or optuna is not installed.
    """
    config = read_config(compose_config(line.example))
    launch = Launch.from_environment()
    if isinstance(config.engine, ProcessesConfig) or (launch and launch.world_size > 1):
        raise UsageError(
            "A search is many runs in one process, and engine=processes has many processes for one;"
            " leave it out, or try values one by one and put them side by side with"
            " gru-parallel compare."
        )
    if config.no_validation is not None:
        raise UsageError(
            f"A search goes by the validation, and {config.no_validation} leaves it out; give it a"
            " part of the data."
        )
    for space in line.spaces:
        reason = _validates_elsewhere(space.name, config)
        _check_windows(space.name, reason)
        _check_options(space, line)
    if find_spec("optuna") is None:
        raise UsageError("A search needs optuna; pip install 'gru-parallel[optuna]'.")
    return config


def _check_windows(text: str, reason: str | None) -> None:
    if reason is not None:
        raise UsageError(
            f"{text} would choose other windows to validate on with {reason}, and losses"
            " over other windows cannot be compared; give it one value."
        )


def _check_options(space: Space, line: SearchLine) -> None:
    """Check the settings that the options of a group give, as if they were searched by name."""
    others = [*line.fixed, *(each.example for each in line.spaces if each is not space)]
    composed = [compose_config([*others, option]) for option in space.options]
    for name in dict.fromkeys(name for config in composed for name in full_names(config)):
        values = [_value(config, name) for config in composed]
        texts = dict.fromkeys(str(as_written(value)) for value in values)
        if len(texts) == 1 or any(map(OmegaConf.is_dict, values)):
            continue
        text = f"{space.key}={','.join(space.choices)} ({name}={', '.join(texts)})"
        _check_comparable(name, text, values)
        if name in (*_LENGTHS, *_OF_BATCHES):
            for config in filter(None, map(_read, composed)):
                _check_windows(text, _validates_elsewhere(name, config))


def _read(composed: DictConfig) -> Config | None:
    """Read a config; None for one that does not work with the first values of other spaces."""
    try:
        return read_config(composed)
    except UsageError:
        return None


def _value(composed: DictConfig, name: str) -> Any:
    """Return the value of a setting; as it is written where only the run knows it."""
    try:
        return OmegaConf.select(composed, name)
    except OmegaConfBaseException:
        return full_names(composed)[name]


def _validates_elsewhere(name: str, config: Config) -> str | None:
    """Return the setting with which another one chooses the windows of the validation, or None."""
    data, trainer = config.data, config.trainer
    task = head_task(config.model.head)
    # With a shortest window, it alone decides where the first forecast comes.
    is_longest = name == "data.input_length" and data.min_input_length and task == "window"
    if name in _LENGTHS and not is_longest:
        # The first forecast comes so many rows after the beginning of a series, or covers them.
        if data.split_by == "series":
            return "data.split_by=series"
        if config.validation_path is not None:
            return f"data.validation_path={config.validation_path}"
        if task == "every_step":
            return f"model.head={config.model.head}"
    if name not in _OF_BATCHES and not (name in _LENGTHS and data.order == "streams"):
        return None
    for limiting in ("fast_dev_run", "overfit_batches", "limit_val_batches"):
        limit = getattr(trainer, limiting)
        takes_all = isinstance(limit, float) and limit == 1
        if limit and not takes_all:
            return f"trainer.{limiting}={as_written(limit)}"
    return None
