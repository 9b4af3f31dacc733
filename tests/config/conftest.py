"""Every test here composes a config."""

import pytest

from tests.cli.composing import load_configs_once, read_sections_once


@pytest.fixture(autouse=True)
def _configs_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_configs_once(monkeypatch)
    read_sections_once(monkeypatch)
