"""CheckpointFile: a checkpoint is there as a whole, or the one before it still is."""

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder, one_before
from gru_parallel.training.checkpoint_file import CheckpointFile, read_checkpoint
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
    assert sorted(path.parent.iterdir()) == [path, one_before(path)]


def test_of_the_folder_of_a_run_a_checkpoint_is_asked_for(tmp_path: Path) -> None:
    CheckpointFile().save_checkpoint(BEFORE, RunFolder(tmp_path).last)

    with pytest.raises(UsageError, match=r"the folder of a run; give .*checkpoints/last\.ckpt\."):
        read_checkpoint(tmp_path)


def test_the_one_before_is_kept_and_no_older_one(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for epoch in range(3):
        CheckpointFile().save_checkpoint({"epoch": epoch}, path)

    kept = [torch.load(each)["epoch"] for each in (path, one_before(path))]
    assert kept == [2, 1]
    assert len(list(tmp_path.iterdir())) == 2


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


class MakesFile:
    """Would create a file when it is unpickled, as any code could."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "some.ckpt"
    weights = {f"l{n}": torch.randn(3 + n, 4) for n in range(4)}
    saved = {"state_dict": weights, "epoch": 3, "config": {"data": {"path": "a.csv"}}}
    CheckpointFile().save_checkpoint(saved, path)
    return path


def is_same(read: Any, path: Path) -> bool:
    expected = torch.load(path, weights_only=True)
    weights = expected["state_dict"]
    return (
        read.keys() == expected.keys()
        and read["config"] == expected["config"]
        and read["epoch"] == expected["epoch"]
        and list(read["state_dict"]) == list(weights)
        and all(torch.equal(read["state_dict"][name], weights[name]) for name in weights)
    )


def test_flipped_bytes_are_noticed_wherever_they_change_anything(
    written: Path, tmp_path: Path
) -> None:
    whole, draw = written.read_bytes(), random.Random(0)
    damaged = tmp_path / "damaged.ckpt"
    n_noticed = 0
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.write_bytes(flipped)
        try:
            read = read_checkpoint(damaged)
        except UsageError:
            n_noticed += 1
        else:
            assert is_same(read, written)
    # The others are in what fills the file up, and in times.
    assert n_noticed > 100


def test_a_file_that_was_cut_off_is_noticed_at_any_length(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    cut_off = tmp_path / "cut_off.ckpt"
    for length in range(0, len(whole), 29):
        cut_off.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="is damaged, or not a checkpoint"):
            read_checkpoint(cut_off)


def test_no_code_that_a_file_names_is_run(tmp_path: Path) -> None:
    path, made = tmp_path / "evil.ckpt", tmp_path / "made"
    torch.save({"state_dict": {}, "epoch": MakesFile(made)}, path)

    with pytest.raises(UsageError, match="UnpicklingError when read"):
        read_checkpoint(path)

    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()
