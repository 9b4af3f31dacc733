#!/usr/bin/env bash
# lightning 2.6.6, wandb 0.31.0, Python 3.11, offline: two loggers one after the other in a process, as
# in a sweep or over seeds.
#
# Expected by many: a logger that is finalized has ended its run, so the next WandbLogger begins one.
# Seen: finalize leaves the run of W&B open, and the next WandbLogger, made with no reference to the
# first, logs into the same run, with a warning only. wandb.finish() between them gives two runs.
#
# Output:
#   after finalize: the same run; after wandb.finish(): another run
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==${TORCH_VERSION:-2.13.0}" lightning==2.6.6 wandb==0.31.0 numpy
cd "$folder"
WANDB_MODE=offline WANDB_SILENT=true "$folder/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import sys

import wandb
from lightning.pytorch.loggers import WandbLogger


def run_of_a_logger() -> str:
    logger = WandbLogger(save_dir=".", offline=True)
    logger.log_metrics({"loss": 1.0})
    logger.finalize("success")
    return logger.experiment.id


first, second = run_of_a_logger(), run_of_a_logger()
wandb.finish()
third = run_of_a_logger()
wandb.finish()
same = {True: "the same run", False: "another run"}
print(f"after finalize: {same[first == second]}; after wandb.finish(): {same[second == third]}")
sys.exit(not (first == second != third))
PYTHON
