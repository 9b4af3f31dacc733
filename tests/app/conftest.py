"""Command lines are checked against the settings, most of which are the same in every test."""

import pytest

from tests.cli.composing import load_configs_once, read_sections_once


@pytest.fixture(autouse=True)
def _configs_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_configs_once(monkeypatch)
    read_sections_once(monkeypatch)
