"""Finds the newest good checkpoint of a run."""

from __future__ import annotations

from pathlib import Path

from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder, part_of
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.saving_clock import saved_at


def newest_checkpoint(folder: RunFolder) -> tuple[Path | None, list[str]]:
    """Find the newest good checkpoint in the folder of a run.

    Args:
        folder: of the run; it need not exist.

    Returns:
        found: its path; None if there is no checkpoint at all.
        passed_over: for each newer one that is damaged, or was not completed, a sentence that names
            it and says why.

    Raises:
        UsageError: there are checkpoints, and all are damaged.
    """
    parts = sorted(folder.checkpoints.glob(part_of(Path("*.ckpt")).name))
    passed_over = [f"{path} was still being written when the run ended" for path in parts]
    paths = newest_first(folder)
    for path in paths:
        try:
            read_checkpoint(path)
        except UsageError as error:
            passed_over.append(str(error).partition(";")[0])
        else:
            return path, passed_over
    if paths:
        raise UsageError(
            f"{folder.checkpoints} has no good checkpoint: {', '.join(passed_over)}; begin anew in"
            " another folder, or give a ckpt_path from elsewhere."
        )
    return None, passed_over


def newest_first(folder: RunFolder) -> list[Path]:
    """Return the paths of all complete checkpoints of a run, also of damaged ones."""
    return sorted(folder.all_checkpoints, key=saved_at, reverse=True)
