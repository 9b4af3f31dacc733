"""The documentation as a site: it builds strictly, and has every public name."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import gru_parallel

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("sphinx") is None, reason="needs gru-parallel[docs]"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "scripts.build_site", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return folder


def test_every_public_name_is_documented(site: Path) -> None:
    reference = (site / "docs" / "site" / "reference.html").read_text()
    documented = {
        name.rpartition(".")[2] for name in re.findall(r'id="(gru_parallel[^"]*)"', reference)
    }

    assert set(gru_parallel.__all__) - documented == {"__version__"}


def test_the_address_of_the_folder_leads_to_the_first_page(site: Path) -> None:
    assert "url=docs/site/index.html" in (site / "index.html").read_text()


def test_pages_fetch_nothing_when_they_are_read(site: Path) -> None:
    outside = r'<(?:script|link|img)[^>]* (?:src|href)="(?:https?:)?//'

    assert [p.name for p in site.rglob("*.html") if re.search(outside, p.read_text())] == []
