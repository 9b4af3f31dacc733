"""CheckpointFile: a checkpoint is there as a whole, or the one before it still is."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.training.checkpoint_file import CheckpointFile
from gru_parallel.training.strategy import PipelineStrategy
from tests.builders import make_plan

BEFORE = {"epoch": 1, "weights": torch.arange(1000.0)}
AFTER = {"epoch": 2, "weights": torch.arange(1000.0) * 2}


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "last.ckpt"

    CheckpointFile().save_checkpoint(BEFORE, path)
    CheckpointFile().save_checkpoint(AFTER, path)

    read = CheckpointFile().load_checkpoint(path)
    assert read["epoch"] == 2
    assert torch.equal(read["weights"], AFTER["weights"])
    assert list(path.parent.iterdir()) == [path]


def test_one_that_is_broken_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    CheckpointFile().save_checkpoint(BEFORE, path)
    whole = path.read_bytes()
    seen: list[bytes] = []

    def broken_off(checkpoint: Any, file: Any) -> None:
        file.write(whole[: len(whole) // 2])
        file.flush()
        # What a process leaves that is killed now.
        seen.append(path.read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", broken_off)
    with pytest.raises(KeyboardInterrupt):
        CheckpointFile().save_checkpoint(AFTER, path)

    assert seen == [whole]
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"

    def full(checkpoint: Any, file: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            # As torch does when it closes its file.
            raise RuntimeError("unexpected pos 986176 vs 986064")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OSError, match=r"No space left on device; make room .*/last\.ckpt'"
    ) as caught:
        CheckpointFile().save_checkpoint(AFTER, path)

    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_open_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    CheckpointFile().save_checkpoint(BEFORE, path)
    opened = torch.load(path, mmap=True)

    CheckpointFile().save_checkpoint(AFTER, path)

    assert torch.equal(opened["weights"], BEFORE["weights"])


def test_runs_write_their_checkpoints_so() -> None:
    assert isinstance(PipelineStrategy(make_plan([4])).checkpoint_io, CheckpointFile)
