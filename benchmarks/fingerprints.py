"""Fingerprints: hashes of what small runs come to, to see whether a change moves a single bit.

Bits depend on machine and versions: compare with a file that was written on the same machine.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.fingerprint_runs import RUNS, TrainingRun
from benchmarks.tool import Tool
from gru_parallel.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 16
AT_ONCE = 2
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def fingerprint(losses: Iterable[str], tensors: Mapping[str, Tensor]) -> str:
    """Hash losses, as they are written, and the bytes of tensors.

    Args:
        losses: in order.
        tensors: by name, on the CPU; their order does not matter.

    Returns:
        The first digits of a SHA-256, in hexadecimal.
    """
    # Kept out of the import of this module: the other commands need no torch.
    import torch

    digest = sha256("\n".join(losses).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def losses_in(metrics: Path) -> Iterator[str]:
    """Read all losses of a metrics.csv, row by row, each with the name of its column."""
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            yield from (f"{name} {value}" for name, value in row.items() if "loss" in name)


def differing(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """Name what only one of the two has, or both with another fingerprint."""
    return [name for name in {**now, **before} if now.get(name) != before.get(name)]


def train(name: str, folder: Path) -> str:
    """Run a training of `RUNS` in a folder of its own, below `folder`, and hash what it leaves.

    Raises:
        UsageError: the run failed.
    """
    # With torch, which the other commands here do not need.
    from gru_parallel.training.checkpoint_file import read_checkpoint

    run_folder = folder / name.replace(" ", "_")
    done = subprocess.run(
        [sys.executable, *_command(RUNS[name]), f"hydra.run.dir={run_folder}"],
        # Its devices are those of the CPU on every machine.
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(f"The run {name!r} ended with status {done.returncode}:\n{done.stderr}")
    checkpoint = read_checkpoint(run_folder / "checkpoints" / "last.ckpt")
    return fingerprint(losses_in(run_folder / "metrics.csv"), checkpoint["state_dict"])


def _command(run: TrainingRun) -> list[str]:
    ranks = [] if run.n_ranks == 1 else [*TORCHRUN, str(run.n_ranks)]
    return [*ranks, "-m", "gru_parallel.train", *run.overrides]


def train_drop_in(device_map: list[str] | None) -> str:
    """Train a drop-in for three steps and hash outputs, last states and gradients."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence

    from gru_parallel import GRU

    torch.manual_seed(0)
    gru = GRU(5, 8, 3, dropout=0.1, device_map=device_map, n_micro_batches=2, n_chunks=3)
    optimizer = torch.optim.SGD(gru.parameters(), lr=0.1)
    x, h_0 = torch.randn(7, 4, 5, requires_grad=True), torch.randn(3, 4, 8, requires_grad=True)
    packed = pack_padded_sequence(x, torch.tensor([7, 6, 3, 1]))
    results: dict[str, Tensor] = {}
    for step, inputs in enumerate([(x,), (packed, h_0), (x, h_0)]):
        optimizer.zero_grad()
        output, h_n = gru(*inputs)
        y = output if isinstance(output, torch.Tensor) else output.data
        (y.square().sum() + h_n.sum()).backward()
        results |= {f"{step} y": y, f"{step} h_n": h_n}
        for name, parameter in gru.named_parameters():
            assert parameter.grad is not None
            results[f"{step} {name}"] = parameter.grad.clone()
        optimizer.step()
    assert x.grad is not None
    assert h_0.grad is not None
    return fingerprint([], {**results, "x": x.grad, "h_0": h_0.grad})


def all_fingerprints() -> Iterator[tuple[str, str]]:
    """Run everything and give each name with its fingerprint, as soon as it is there."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        yield from zip(RUNS, pool.map(partial(train, folder=Path(folder)), RUNS), strict=True)
    yield "drop-in in one thread", train_drop_in(None)
    yield "drop-in on two devices", train_drop_in(["cpu:0", "cpu:0", "cpu:1"])


def _read(file: Path) -> dict[str, str]:
    try:
        fingerprints: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--against {file} cannot be read: {error}; write it with --write."
        ) from None
    return fingerprints


def _check_folder(file: Path) -> None:
    if file.is_dir() or not file.parent.is_dir():
        raise UsageError(f"--write {file} is no file in a folder that is there; name another.")


def add_options(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", metavar="FILE", type=Path, help="keep the fingerprints as JSON")
    what.add_argument(
        "--against",
        metavar="FILE",
        type=Path,
        help="compare with what --write kept on this machine; status 1 if anything differs",
    )


def run(options: Namespace) -> int:
    """Print all fingerprints; write them or compare them if asked."""
    # A file that cannot be read, or written, should not cost the runs.
    before = None if options.against is None else _read(options.against)
    if options.write is not None:
        _check_folder(options.write)
    now = {}
    for name, value in all_fingerprints():
        now[name] = value
        print(f"{name:24}{value}", flush=True)
    if options.write is not None:
        options.write.write_text(json.dumps(now, indent=1) + "\n")
    if before is None:
        return 0
    names = differing(now, before)
    print(f"Differ: {', '.join(names)}." if names else f"All {len(now)} are the same.")
    return 1 if names else 0


FINGERPRINTS = Tool(
    "fingerprints",
    "hash losses and weights of small runs, to see whether a change moves a single bit",
    add_options,
    run,
)
