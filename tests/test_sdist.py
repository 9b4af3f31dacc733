"""What a source distribution holds: a checkout, so that Makefile and tests find their files."""

import subprocess
import tarfile
from contextlib import chdir
from pathlib import Path

import pytest
from hatchling.build import build_sdist

ROOT = Path(__file__).parents[1]
ONLY_IN_A_CHECKOUT = {".ci"}


def test_a_source_distribution_holds_what_a_checkout_does(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("there is no checkout to compare with")
    command = ["git", "-C", str(ROOT), "ls-files"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    with chdir(ROOT):
        name = build_sdist(str(tmp_path))
    with tarfile.open(tmp_path / name) as opened:
        held = {member.partition("/")[2] for member in opened.getnames()}

    expected = {path for path in listed if Path(path).parts[0] not in ONLY_IN_A_CHECKOUT}
    assert expected <= held
