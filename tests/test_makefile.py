"""`make help` lists every target that says what it is for."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_help_lists_every_target_with_its_sentence() -> None:
    said = {
        target: sentence
        for line in (ROOT / "Makefile").read_text().splitlines()
        if (found := re.match(r"(\S+):.*?## (.*)", line))
        for target, sentence in [found.groups()]
    }
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [line.strip() for line in shown.stdout.splitlines()[1:]]
    assert dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines) == said
