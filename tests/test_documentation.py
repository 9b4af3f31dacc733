"""The documentation is true of the files: links, the list of files, the picture of the rooms."""

import re
from pathlib import Path

import pytest

import gru_parallel
from scripts import draw_rooms, list_files

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for folder in ("", "docs/**/", "benchmarks/", "findings/")
    for path in ROOT.glob(f"{folder}*.md")
)


def anchors(page: Path) -> set[str]:
    """Of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_code_that_a_page_names_exist(page: Path) -> None:
    for path in re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|sh))`", page.read_text()):
        assert any((folder / path).is_file() for folder in (ROOT, ROOT / "gru_parallel")), path


def test_the_site_leads_to_every_page() -> None:
    listed = (ROOT / "docs" / "site" / "index.md").read_text()
    # Package indexes show that one.
    pages = {page.stem for page in ROOT.glob("docs/*.md")} - {"package"}

    assert [page for page in sorted(pages) if f"../{page}" not in listed] == []


def test_the_page_on_the_api_lists_the_public_names() -> None:
    names, _ = (ROOT / "docs" / "api.md").read_text().split("## Extension points")

    assert set(re.findall(r"^\| `(\w+)` \|", names, re.MULTILINE)) == set(gru_parallel.__all__)


def test_the_list_of_files_is_up_to_date() -> None:
    assert list_files.LIST.read_text() == list_files.listing(), f"run {list_files.COMMAND}"


def test_the_picture_of_the_rooms_shows_the_imports_as_they_are() -> None:
    assert draw_rooms.PICTURE.read_text() == draw_rooms.picture(), f"run {draw_rooms.COMMAND}"


def test_an_import_upward_is_not_drawn_but_refused() -> None:
    row_of = {"high": 0, "low": 1}

    assert draw_rooms.arrows({"high": {"gru_parallel.low.part"}}, row_of) == {(0, 1)}
    with pytest.raises(SystemExit, match="low imports high, which stands above it"):
        draw_rooms.arrows({"low": {"gru_parallel.high.part"}}, row_of)


def test_imports_are_found_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "file.py").write_text(
        "import a.b\nfrom c import d\ndef later():\n    from e.f import g\n"
    )
    monkeypatch.setattr(draw_rooms, "PACKAGE", tmp_path)

    assert set(draw_rooms.imported("room")) == {"a.b", "c.d", "e.f.g"}


def test_the_changelog_says_each_change_once() -> None:
    openings = [line[:40] for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line]

    assert len(openings) == len(set(openings)), "a line stands there in two wordings"
