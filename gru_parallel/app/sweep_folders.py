"""Refuses a sweep into the folders of other runs, before Hydra writes into them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.app.run_folder import check_free
from gru_parallel.choices import LAST
from gru_parallel.config.overrides import compose_with_hydra, runs_of_sweep
from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder

_BY_NUMBER = "${hydra.job.num}"
_BY_TIME = "${now:"


def check_sweep_free(overrides: Sequence[str], *, counts: bool) -> None:
    """Refuse a sweep of which a run would be in the folder of another, unless it is resumed there.

    When a run can look into its folder, Hydra has written the settings there.

    Args:
        overrides: as on the command line.
        counts: whether they tell how many runs there are; if not, no run may be in the sweep's
            folder.

    Raises:
        UsageError: see above; or a run cannot be composed.
    """
    runs = runs_of_sweep(overrides)
    first = _composed(runs[0], 0)
    folders = _folders(runs, first) if counts else None
    if folders is None:
        _check_empty(first)
        return
    first_with: dict[Path, int] = {}
    for number, folder in enumerate(folders):
        if first_with.setdefault(folder, number) != number:
            raise UsageError(
                f"{folder} is the folder of runs {first_with[folder] + 1} and {number + 1} of"
                " this sweep, of which the later one would overwrite the other; name in"
                " hydra.sweep.subdir all that differs, or leave it out."
            )
        if RunFolder(folder).is_taken:
            ckpt_path = _ckpt_path(_composed(runs[number], number))
            check_free(folder, None if ckpt_path is None else Path(ckpt_path), sweep=True)


def _composed(run: Sequence[str], number: int) -> DictConfig:
    return compose_with_hydra([*run, f"hydra.job.num={number}", f"hydra.job.id={number}"])


def _folders(runs: Sequence[Sequence[str]], first: DictConfig) -> list[Path] | None:
    """Return the folder of each run, the first of which is composed; None if only runs know."""
    written = OmegaConf.to_container(first.hydra.sweep)
    assert isinstance(written, dict)
    is_one = "${" not in written["dir"].replace(_BY_TIME, "")
    try:
        if is_one and written["subdir"] == _BY_NUMBER:
            return [Path(first.hydra.sweep.dir, str(number)) for number in range(len(runs))]
        composed = [first, *(_composed(run, n) for n, run in enumerate(runs[1:], start=1))]
        return [Path(each.hydra.sweep.dir, each.hydra.sweep.subdir) for each in composed]
    except OmegaConfBaseException:
        return None


def _check_empty(composed: DictConfig) -> None:
    """Refuse a folder of a sweep in which there are runs; `composed` is one of the sweep's."""
    if _ckpt_path(composed) == LAST:
        return
    with suppress(OmegaConfBaseException):
        folder = Path(composed.hydra.sweep.dir)
        inside = (path.parent for path in sorted(folder.rglob(RunFolder(folder).config.name)))
        held = next((path for path in inside if RunFolder(path).is_taken), None)
        if held is not None:
            raise UsageError(
                f"hydra.sweep.dir={folder} holds runs, {held} for one, which the runs of this sweep"
                f" could overwrite; choose another folder, resume them with ckpt_path={LAST}, or"
                " remove them."
            )


def _ckpt_path(composed: DictConfig) -> str | None:
    with suppress(OmegaConfBaseException):
        path: str | None = composed.ckpt_path
        return path
    return None
