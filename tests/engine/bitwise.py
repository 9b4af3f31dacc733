"""Runs scripts that compare bits on a GPU, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def assert_says_the_same(script: str) -> None:
    """Run a script, whose last line is to be: the same."""
    # cuBLAS, below cuDNN, reads this when it starts: without it an nn.GRU does not repeat itself.
    environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100.0,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[-2] == "the same"
