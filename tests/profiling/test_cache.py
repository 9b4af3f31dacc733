"""Profiles on disk: found by all that they depend on, and never half-written."""

from pathlib import Path

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.planning.profile import Profile
from gru_parallel.profiling.cache import cache_folder, load_profile, profile_path, store_profile

KEY = {"rows": 4, "machine": {"torch": "2.13.0"}, "ends": [None, {"is_head": True}]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRU_PARALLEL_CACHE", str(tmp_path / "cache"))


def profile(rows: int = 4) -> Profile:
    return Profile({**KEY, "rows": rows}, "2026-11-27", (), {}, 0.5, 1.0)


def test_a_profile_is_found_by_its_key_alone() -> None:
    store_profile(profile())
    store_profile(profile(8))

    assert load_profile(KEY) == profile()
    assert load_profile({**KEY, "rows": 8}) == profile(8)
    assert load_profile({**KEY, "rows": 9}) is None
    assert len(list(cache_folder().iterdir())) == 2


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}'])
def test_a_damaged_profile_is_none(text: str) -> None:
    store_profile(profile())
    profile_path(KEY).write_text(text, encoding="utf-8")

    assert load_profile(KEY) is None


def test_a_profile_under_the_name_of_another_is_none() -> None:
    store_profile(profile(8)).rename(profile_path(KEY))

    assert load_profile(KEY) is None


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")

    with pytest.raises(UsageError, match=r"cannot be kept in .*cache.*set GRU_PARALLEL_CACHE"):
        store_profile(profile())
