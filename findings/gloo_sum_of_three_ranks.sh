#!/usr/bin/env bash
# torch 2.13.0, CPU, Python 3.11: torch.distributed.all_reduce with Gloo.
#
# Expected by many: all entries of a tensor are summed over the ranks in one order, so that equal
# summands give equal sums, wherever they stand.
# Seen: over three ranks the order depends on the place in the tensor. Each of 1,000 entries is 1e8 on
# rank 0, 1 on rank 1 and -1e8 on rank 2; in float32 that is 0 or 1, by the order. A third of the
# entries comes out as 1, the others as 0. So gradients summed as one flat row change their last
# bits when what stands before them in the row changes.
#
# Output:
#   of 1000 equal sums, 666 came out as 0 and 334 as 1; the same on every rank: True
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}"
cat > "$folder/sums.py" <<'PYTHON'
import sys
from pathlib import Path

import torch
from torch import distributed, multiprocessing

N_RANKS, N_ENTRIES = 3, 1000


def run(rank: int, folder: str) -> None:
    """Sum over the ranks, and write what came out."""
    store = distributed.FileStore(f"{folder}/store", N_RANKS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=N_RANKS)
    summands = torch.full((N_ENTRIES,), [1e8, 1.0, -1e8][rank])
    distributed.all_reduce(summands)
    torch.save(summands, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    folder = str(Path(__file__).parent)
    multiprocessing.spawn(run, (folder,), N_RANKS)
    sums = [torch.load(f"{folder}/{rank}.pt") for rank in range(N_RANKS)]
    n_zeros, n_ones = int((sums[0] == 0).sum()), int((sums[0] == 1).sum())
    is_same = all(torch.equal(each, sums[0]) for each in sums)
    print(
        f"of {N_ENTRIES} equal sums, {n_zeros} came out as 0 and {n_ones} as 1;"
        f" the same on every rank: {is_same}"
    )
    sys.exit(not (n_zeros and n_ones and n_zeros + n_ones == N_ENTRIES and is_same))
PYTHON
GLOO_SOCKET_IFNAME=lo "$folder/venv/bin/python" -W ignore "$folder/sums.py"
