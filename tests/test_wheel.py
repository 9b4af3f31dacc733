"""What a wheel holds: the package, its settings, and every page that it speaks of."""

import re
from collections.abc import Iterator
from contextlib import chdir
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.build import build_wheel

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    with chdir(ROOT):
        name = build_wheel(str(folder))
    with ZipFile(folder / name) as opened:
        yield opened


def description_of(wheel: ZipFile) -> str:
    """What package indexes show in place of a README."""
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return str(message_from_string(wheel.read(metadata).decode()).get_payload())


def test_every_page_that_the_description_names_is_in_the_wheel(wheel: ZipFile) -> None:
    named = set(re.findall(r"[\w./-]+\.(?:md|py|png|svg)\b", description_of(wheel)))

    assert "gru_parallel/docs/settings.md" in named
    assert named <= set(wheel.namelist())


def test_the_description_has_no_link_into_a_checkout(wheel: ZipFile) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", description_of(wheel))

    assert [link for link in links if "://" not in link] == []


def test_the_page_that_the_help_names_and_all_settings_are_in_the_wheel(wheel: ZipFile) -> None:
    (page,) = re.findall(r"\$\{page:(.+?)\}", (ROOT / "conf" / "config.yaml").read_text())
    settings = (path.relative_to(ROOT) for path in ROOT.glob("conf/**/*.yaml"))

    expected = {f"docs/{page}", *(path.as_posix() for path in settings)}
    assert {f"gru_parallel/{name}" for name in expected} <= set(wheel.namelist())


def test_pages_for_contributors_are_not_in_the_wheel(wheel: ZipFile) -> None:
    pages = {name for name in wheel.namelist() if name.startswith("gru_parallel/docs/")}

    assert not {name for name in pages if "/design/" in name or name.endswith("/files.md")}
