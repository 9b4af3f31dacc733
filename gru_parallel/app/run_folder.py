"""Refuses a folder for a run that cannot be meant: one that holds another run, or none at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from gru_parallel.config.overrides import hydra_setting
from gru_parallel.errors import UsageError

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
        # A sweep gives other settings many values.
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
    """Refuse a folder that holds a run, unless one goes on in it.

    A run holds its folder from its first checkpoint on, or once it is complete.

    Args:
        folder: of the run.
        ckpt_path: what the run goes on from.
        sweep: whether the run is one of a sweep.

    Raises:
        UsageError: see above.
    """
    last = folder / "checkpoints" / "last.ckpt"
    if not last.is_file() and not _is_complete(folder / "summary.json"):
        return
    if ckpt_path is not None and folder.resolve() in ckpt_path.resolve().parents:
        return
    go_on = f" go on in it with ckpt_path={last}," if last.is_file() else ""
    raise UsageError(
        f"{_SETTINGS[sweep]}={folder} holds a run, which a new one would overwrite; choose another"
        f" folder,{go_on} or remove it."
    )


def _is_complete(summary: Path) -> bool:
    """Whether a run came to its end here: one that was stopped or failed may begin anew."""
    try:
        ended = json.loads(summary.read_text(encoding="utf-8")).get("ended")
    except (OSError, ValueError, AttributeError):
        return False
    return ended not in ("interrupted", "failed")
