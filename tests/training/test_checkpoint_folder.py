"""Checkpoints as folders: written by all ranks together, checked, and read part by part."""

from __future__ import annotations

import errno
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint import FileSystemWriter

from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, Ranks, join
from gru_parallel.run_folder import one_before, part_of
from gru_parallel.training import SeriesModule
from gru_parallel.training.background import Background
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.checkpoint_folder import StoredPart, outline_of, write_folder
from gru_parallel.training.in_place import copy_whole
from tests.rank_processes import free_port
from tests.runs import SaveAfter, fit, make_module, weights_of
from tests.training.test_checkpoint_file import MakesFile


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with join(Launch(0, 1, 0, 1, "127.0.0.1", free_port(), 0, False), timeout_s=10) as ranks:
        yield ranks


def checkpoint(epoch: int) -> dict[str, Any]:
    weights = {f"l{n}": torch.arange(12.0 + n) + epoch for n in range(4)}
    weights["half"] = torch.ones(2, 3, dtype=torch.bfloat16)
    state = {
        name: {"step": torch.tensor(float(epoch)), "avg": w * 2} for name, w in weights.items()
    }
    groups = [{"lr": 0.1, "params": list(weights)}]
    return {
        "state_dict": weights,
        "optimizer_states": [{"state": state, "param_groups": groups}],
        "carried": {"training": torch.ones(2, 1)},
        "epoch": epoch,
    }


def write(ranks: Ranks, target: Path, epoch: int = 1) -> Path:
    shutil.rmtree(part_of(target), ignore_errors=True)
    group = dist.group.WORLD
    assert group is not None
    assert ranks.world_size == 1
    write_folder(checkpoint(epoch), part_of(target), target, group)
    return target


@pytest.fixture
def written(ranks: Ranks, tmp_path: Path) -> Path:
    return write(ranks, tmp_path / "last.ckpt")


def whole(saved: dict[str, Any]) -> dict[str, Any]:
    (optimizer,) = saved["optimizer_states"]
    states = [optimizer | {"state": dict(optimizer["state"])}]
    return saved | {"state_dict": dict(saved["state_dict"]), "optimizer_states": states}


def assert_same(read: dict[str, Any], epoch: int = 1) -> None:
    expected = checkpoint(epoch)
    assert read.keys() == expected.keys()
    found = whole(read)
    for one in (found, expected):
        del one["optimizer_states"][0]["param_groups"][0]["params"]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_it_is_read_as_it_was_written_wherever_it_is(written: Path, tmp_path: Path) -> None:
    shutil.move(written, tmp_path / "moved")

    assert_same(read_checkpoint(tmp_path / "moved"))
    copy_whole(tmp_path / "moved", tmp_path / "copied")
    assert_same(read_checkpoint(tmp_path / "copied"))


def test_shapes_are_known_without_reading_tensors(written: Path) -> None:
    saved = read_checkpoint(written)
    for path in written.glob("*.distcp"):
        path.unlink()

    weights = saved["state_dict"]
    assert isinstance(weights, StoredPart)
    assert {name: tuple(w.shape) for name, w in outline_of(weights).items()} == {
        name: tuple(w.shape) for name, w in checkpoint(1)["state_dict"].items()
    }
    with pytest.raises(ValueError, match="No such file"):
        _ = weights["l0"]


def test_the_one_before_is_kept(ranks: Ranks, written: Path) -> None:
    write(ranks, written, epoch=2)
    write(ranks, written, epoch=3)

    assert_same(read_checkpoint(written), 3)
    assert_same(read_checkpoint(one_before(written)), 2)
    assert sorted(written.parent.iterdir()) == [written, one_before(written)]


def test_one_that_is_broken_off_leaves_the_one_before(
    ranks: Ranks, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemWriter, "finish", full)
    with pytest.raises(OSError, match=r"No space left on device; make room .*/last\.ckpt'"):
        write(ranks, written, epoch=2)

    assert list(written.parent.iterdir()) == [written]
    assert_same(read_checkpoint(written))


def test_one_of_which_the_first_rank_does_not_see_all_parts_is_none(
    ranks: Ranks, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = FileSystemWriter.finish

    def finish_elsewhere(writer: FileSystemWriter, *rest: Any) -> None:
        for part in Path(writer.path).glob("*.distcp"):
            part.unlink()
        finish(writer, *rest)

    monkeypatch.setattr(FileSystemWriter, "finish", finish_elsewhere)
    with pytest.raises(OSError, match=r"__0_0\.distcp, .* must be on a file system that all ranks"):
        write(ranks, written, epoch=2)

    assert list(written.parent.iterdir()) == [written]
    assert_same(read_checkpoint(written))


def test_flipped_bytes_and_cut_off_files_are_noticed_in_every_file(
    written: Path, tmp_path: Path
) -> None:
    draw = random.Random(0)
    files = sorted(written.iterdir())
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        for harm in range(40):
            place = draw.randrange(len(content))
            flipped = bytearray(content)
            flipped[place] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped if harm % 2 else content[:place])
            with pytest.raises(UsageError, match=r"last\.ckpt is damaged, or not a checkpoint"):
                read_checkpoint(written)
        path.unlink()
        with pytest.raises(UsageError, match=r"is not as SHA256SUMS says|has no SHA256SUMS"):
            read_checkpoint(written)
        path.write_bytes(content)
    assert_same(read_checkpoint(written))


@pytest.mark.parametrize("name", [".metadata", "rest.pt"])
def test_no_code_that_a_file_names_is_run(name: str, written: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    evil = {"state_dict": {}, "epoch": MakesFile(made)}
    if name == ".metadata":
        (written / name).write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, written / name)

    with pytest.raises((UsageError, pickle.UnpicklingError), match=r"names|Unpickling"):
        _ = read_checkpoint(written, checks=False)["state_dict"]["l0"]

    assert not made.exists()


def test_a_job_in_the_background_is_waited_for_and_its_error_raised(no_thread_left: None) -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("full")

    background = Background(is_used=True)
    background.run(lambda: done.append(1))
    background.run(fail)
    assert done == [1]
    with pytest.raises(OSError, match="full"):
        background.run(lambda: done.append(2))
    background.wait()
    assert done == [1]


def test_a_module_is_loaded_from_a_folder(ranks: Ranks, tmp_path: Path) -> None:
    file, folder = tmp_path / "file.ckpt", tmp_path / "folder.ckpt"
    run = fit(None, make_module(), callbacks=[SaveAfter(1, file)], max_steps=1)
    group = dist.group.WORLD
    assert group is not None
    write_folder(read_checkpoint(file), part_of(folder), folder, group)

    loaded = SeriesModule.load_from_checkpoint(folder)

    expected = weights_of(run.module)
    assert all(torch.equal(weight, expected[n]) for n, weight in weights_of(loaded).items())
