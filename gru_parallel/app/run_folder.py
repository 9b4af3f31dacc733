"""Refuses an unsuitable folder for a run: one of another run, or none at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.choices import LAST
from gru_parallel.config.folders import conf_dir
from gru_parallel.config.overrides import (
    CONFIG_NAME,
    compose_with_hydra,
    is_of_hydra,
    parse_override,
)
from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder

_SETTINGS = {False: "hydra.run.dir", True: "hydra.sweep.dir"}
_TIME = "${now:"


def named_folder(overrides: Sequence[str], *, sweep: bool = False) -> Path | None:
    """Return the folder that the overrides, or an experiment among them, name for a run or a sweep.

    Returns:
        None where they name none, or one that only the run itself knows.

    Raises:
        UsageError: they name an empty one.
    """
    setting = _SETTINGS[sweep]
    # A sweep gives other settings several values.
    named = [text for text in overrides if not sweep or is_of_hydra(_key(text))]
    if not any(is_of_hydra(_key(text)) or _key(text) == "experiment" for text in named):
        return None
    composed = _composed(tuple(named))
    if _written(composed, setting) == _written(_of_default(), setting):
        return None
    try:
        folder = str(OmegaConf.select(composed, setting))
    except OmegaConfBaseException:
        return None
    if not folder.strip():
        raise UsageError(
            f"{setting}= is empty, and a run would write into the current folder; name a folder, or"
            " leave it out."
        )
    return Path(folder)


def is_of_the_moment(overrides: Sequence[str]) -> bool:
    """Whether the overrides name another folder for a run at another time."""
    return _TIME in _written(_composed(tuple(overrides)), _SETTINGS[False])


@lru_cache(maxsize=1)
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Compose what is asked about more than once: it takes a fifth of a second."""
    return compose_with_hydra(overrides)


def _of_default() -> DictConfig:
    """Return the settings of a run that names no folder, as far as they are about folders."""
    found = OmegaConf.load(conf_dir() / f"{CONFIG_NAME}.yaml")
    assert isinstance(found, DictConfig)
    return found


def _written(composed: DictConfig, setting: str) -> str:
    """Return a setting with its references as they are."""
    section, _, name = setting.rpartition(".")
    container = OmegaConf.to_container(OmegaConf.select(composed, section))
    assert isinstance(container, dict)
    return str(container[name])


def _key(override: str) -> str:
    return str(parse_override(override).key_or_group)


def check_free(folder: Path, ckpt_path: Path | None, *, sweep: bool = False) -> None:
    """Refuse a folder that holds a run, unless it is resumed there.

    Args:
        folder: of the run.
        ckpt_path: the checkpoint that the run is resumed from.
        sweep: whether the run is one of a sweep.

    Raises:
        UsageError: see above.
    """
    held = RunFolder(folder)
    if not held.is_taken or held.holds(ckpt_path) or ckpt_path == Path(LAST):
        return
    # One checkpoint is no use to all runs of a sweep.
    resumed = LAST if sweep else held.last
    resume = f" resume it with ckpt_path={resumed}," if held.last.exists() else ""
    named = f"{folder}, where a run of this sweep would be," if sweep else f"hydra.run.dir={folder}"
    raise UsageError(
        f"{named} holds a run, which a new one would overwrite; choose another"
        f" {'hydra.sweep.dir' if sweep else 'folder'},{resume} or remove it."
    )
