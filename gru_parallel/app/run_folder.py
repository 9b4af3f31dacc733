"""Refuses an unsuitable folder for a run: one of another run, or none at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from gru_parallel.choices import LAST
from gru_parallel.config.overrides import hydra_setting
from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder

_SETTINGS = {False: "hydra.run.dir", True: "hydra.sweep.dir"}


def named_folder(overrides: Sequence[str], *, sweep: bool = False) -> Path | None:
    """Return the folder that the overrides name for a run or a sweep.

    Returns:
        None where they name none, or one that only the run itself knows.

    Raises:
        UsageError: they name an empty one.
    """
    setting = _SETTINGS[sweep]
    named = [override for override in overrides if override.startswith("hydra")]
    if not named:
        return None
    try:
        # A sweep gives other settings several values.
        folder = hydra_setting(named if sweep else overrides, setting)
    except OmegaConfBaseException:
        return None
    if not folder.strip():
        raise UsageError(
            f"{setting}= is empty, and a run would write into the current folder; name a folder, or"
            " leave it out."
        )
    return Path(folder)


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
    raise UsageError(
        f"{_SETTINGS[sweep]}={folder} holds a run, which a new one would overwrite; choose another"
        f" folder,{resume} or remove it."
    )
