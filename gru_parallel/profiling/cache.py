"""Keeps profiles on disk, by all that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import Any

from gru_parallel.errors import UsageError
from gru_parallel.planning.profile import PROFILE_VERSION, Profile

FOLDER_VARIABLE = "GRU_PARALLEL_CACHE"


def cache_folder() -> Path:
    """Return where profiles are: $GRU_PARALLEL_CACHE, or gru_parallel in the user's cache folder.

    That is $XDG_CACHE_HOME, or ~/.cache.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gru_parallel"


def profile_path(key: Mapping[str, Any]) -> Path:
    """Return the file of the profile with a key."""
    text = json.dumps([PROFILE_VERSION, key], sort_keys=True)
    return cache_folder() / f"profile-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def load_profile(key: Mapping[str, Any]) -> Profile | None:
    """Read the profile with a key; None where there is none that can be read."""
    try:
        profile = Profile.from_json(profile_path(key).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, UsageError):
        return None
    return profile if dict(profile.key) == json.loads(json.dumps(key)) else None


def check_cache() -> None:
    """Check that a profile can be kept, before one is measured.

    Raises:
        UsageError: the folder cannot be written to.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_kept(folder, error) from error


def store_profile(profile: Profile) -> Path:
    """Write a profile to its file, as a whole or not at all.

    Raises:
        UsageError: the folder cannot be written to.
    """
    path = profile_path(profile.key)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            temporary = file.name
            file.write(profile.to_json())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
        raise _not_kept(path.parent, error) from error
    return path


def _not_kept(folder: Path, error: OSError) -> UsageError:
    return UsageError(
        f"the profile cannot be kept in {folder}: {error.strerror}; set {FOLDER_VARIABLE} to a"
        " folder that can be written to, or use plan=analytic."
    )
