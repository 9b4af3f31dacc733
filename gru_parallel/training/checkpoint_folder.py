"""Checkpoints as folders, of which each process writes and reads only its part.

The tensors of `IN_PARTS` are in files of `torch.distributed.checkpoint`, named by where they are in
the checkpoint. All else is in one small file, in which tensors without content hold their places.
SHA256SUMS, which `sha256sum -c` understands, is written last and lists every file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.futures import Future
from torch.utils._pytree import tree_map_only, tree_map_with_path

from gru_parallel.training.in_place import in_words, remove, sync, take_place

IN_PARTS = ("state_dict", "optimizer_states")
"""The entries of a checkpoint of which each process has a part."""

_REST, _SUMS, _METADATA = "rest.pt", "SHA256SUMS", ".metadata"

_CLASSES = {
    "torch.distributed.checkpoint.metadata": (
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.serialization": ("_get_layout",),
    "torch": ("Size",),
}
"""What the metadata of torch.distributed.checkpoint is made of."""


class DamagedError(ValueError):
    """A checkpoint whose bytes are not those that were written; the message says where."""


def write_folder(
    checkpoint: Mapping[str, Any],
    part: Path,
    target: Path,
    group: dist.ProcessGroup,
) -> None:
    """Write a checkpoint together with the other processes of a group, each its own tensors.

    Args:
        checkpoint: in `IN_PARTS`, the tensors of other processes are on the meta device.
        part: where it is written; the first process of the group has removed what was there.
        target: whose place it takes once it is complete.
        group: of the processes that together have the whole checkpoint, on the CPU.

    Raises:
        OSError: it cannot be written; on all processes.
        RuntimeError: another process has failed.
    """
    tensors = dict(
        _tensors_here({name: checkpoint[name] for name in IN_PARTS if name in checkpoint})
    )
    outline = {
        name: tree_map_only(Tensor, _emptied, entry) if name in IN_PARTS else entry
        for name, entry in checkpoint.items()
    }
    writer = _Writer(part, target, outline)
    try:
        save(tensors, storage_writer=writer, process_group=group)
    except CheckpointException as error:
        if dist.get_rank(group) == 0:
            with suppress(OSError):
                remove(part)
        # It is no Exception, so that nothing above would handle it.
        raise in_words(_cause_of(error), target) from error


def read_folder(path: Path) -> dict[str, Any]:
    """Open a checkpoint; tensors in parts are read when they are asked for.

    No code that a file names is run.
    """
    saved: dict[str, Any] = torch.load(path / _REST, map_location="cpu", weights_only=True)
    reader = _Reader(path)
    opened = saved | {"state_dict": StoredPart(reader, "state_dict", saved["state_dict"])}
    if "optimizer_states" in saved:
        opened["optimizer_states"] = [
            state | {"state": StoredPart(reader, f"optimizer_states/{at}/state", state["state"])}
            for at, state in enumerate(saved["optimizer_states"])
        ]
    return opened


def check_folder(path: Path) -> None:
    """Verify the checksums of all files.

    Raises:
        DamagedError: a file is missing, is not listed, or is not as it was written.
        OSError: a file cannot be read.
    """
    if not (path / _SUMS).is_file():
        raise DamagedError(f"it has no {_SUMS}")
    listed = (path / _SUMS).read_bytes().decode(errors="replace")
    found = _as_text(_checksums(path, (each.name for each in path.iterdir() if each.name != _SUMS)))
    if odd := set(listed.split("\n")).symmetric_difference(found.split("\n")):
        name = max(line.partition("  ")[2] for line in odd)
        raise DamagedError(f"{name or 'a file'} is not as {_SUMS} says")


class StoredPart(Mapping[str, Any]):
    """Entries of a checkpoint in a folder, whose tensors are read when an entry is asked for.

    Args:
        reader: of the folder.
        place: of these entries in the checkpoint.
        outline: the entries, with tensors on the meta device.
    """

    def __init__(self, reader: _Reader, place: str, outline: Mapping[str, Any]) -> None:
        self.outline = outline
        self._reader = reader
        self._place = place

    def __getitem__(self, name: str) -> Any:
        """Read an entry.

        Raises:
            DamagedError: it cannot be read.
        """
        tensors: dict[str, Tensor] = {}

        def empty(at: Any, leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            key = _key(f"{self._place}/{name}", at)
            tensors[key] = self._reader.empty(key)
            return tensors[key]

        entry = tree_map_with_path(empty, self.outline[name])
        self._reader.fill(tensors)
        return entry

    def __iter__(self) -> Iterator[str]:
        """The names of the entries."""
        return iter(self.outline)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self.outline)


def outline_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return tensors by name of which only shape and type count, without reading them."""
    return part.outline if isinstance(part, StoredPart) else part


@dataclass(frozen=True)
class _Written:
    """What one process has written: the results as torch has them, and checksums by file."""

    results: Any
    sums: dict[str, str]


class _Writer(FileSystemWriter):
    """Writes tensors, and on the first process what makes them a checkpoint."""

    def __init__(self, part: Path, target: Path, rest: Mapping[str, Any]) -> None:
        super().__init__(part)
        self._target = target
        self._rest = rest

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[Any]:
        """Write the tensors of this process."""
        results = super().write_data(plan, planner).wait()
        names = {result.storage_data.relative_path for result in results}
        done: Future[Any] = Future()
        done.set_result(_Written(results, _checksums(Path(self.path), names)))
        return done

    def finish(self, metadata: Metadata, results: Any) -> None:
        """Write the rest once all processes have written, and take the target's place."""
        super().finish(metadata, [written.results for written in results])
        folder = Path(self.path)
        with (folder / _REST).open("wb") as file:
            torch.save(self._rest, file)
            _flush(file)
        sums = _checksums(folder, (_METADATA, _REST))
        for written in results:
            sums |= written.sums
        for name in sums:
            if not (folder / name).exists():
                raise OSError(
                    errno.ENOENT,
                    f"{name}, which a rank has written, is not there for the first rank: the folder"
                    " must be on a file system that all ranks see",
                )
        with (folder / _SUMS).open("w", encoding="utf-8", newline="\n") as file:
            file.write(_as_text(sums))
            _flush(file)
        sync(folder)
        take_place(folder, self._target)

    def storage_meta(self) -> StorageMeta | None:
        """Leave out the path, which would be of no use once the folder is moved."""
        return None


class _Reader(FileSystemReader):
    """Reads tensors, and metadata only of the classes that it is made of."""

    _metadata: Metadata | None = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Read the metadata, once."""
        if self._metadata is None:
            with (Path(self.path) / _METADATA).open("rb") as file:
                self._metadata = _MetadataUnpickler(file).load()
            self._metadata.storage_meta = StorageMeta()
        return self._metadata

    def empty(self, key: str) -> Tensor:
        """Return a tensor of the shape and type of one that is stored."""
        stored = self.read_metadata().state_dict_metadata[key]
        assert isinstance(stored, TensorStorageMetadata)
        return torch.empty(stored.size, dtype=stored.properties.dtype)

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Read the tensors with these names."""
        try:
            with warnings.catch_warnings():
                # It warns that there is but one process.
                warnings.simplefilter("ignore")
                load(tensors, storage_reader=self, no_dist=True)
        except CheckpointException as error:
            raise DamagedError(f"{self.path}: {_cause_of(error)}") from error


class _MetadataUnpickler(pickle.Unpickler):
    """Refuses whatever is not part of metadata: a pickle may name any code to run."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(vars(torch).get(name), torch.dtype)
        if not is_dtype and name not in _CLASSES.get(module, ()):
            raise pickle.UnpicklingError(
                f"{_METADATA} names {module}.{name}, which is no part of it"
            )
        return super().find_class(module, name)


def _tensors_here(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of this process by where they are."""
    found: list[tuple[str, Tensor]] = []

    def keep(at: Any, leaf: Any) -> None:
        if isinstance(leaf, Tensor) and not leaf.is_meta:
            found.append((_key("", at), leaf.detach()))

    tree_map_with_path(keep, tree)
    return iter(found)


def _emptied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta")


def _key(place: str, at: Iterable[Any]) -> str:
    steps = (str(step.key if hasattr(step, "key") else step.idx) for step in at)
    return "/".join([*([place] if place else []), *steps])


def _checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: _checksum(folder / name) for name in names}


def _as_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _cause_of(error: CheckpointException) -> BaseException:
    """Return what went wrong on the first process on which something did."""
    _, (cause, _) = min(error.failures.items(), key=lambda failure: failure[0])
    return cause
