"""Build: another state of this library, in a folder of its own, that processes can import."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gru_parallel.errors import UsageError

PACKAGE = "gru_parallel"


class Build(NamedTuple):
    """A state of this library.

    Attributes:
        commit: how tables call it.
        folder: holds the package, and nothing else that could be imported.
    """

    commit: str
    folder: str


@contextmanager
def build_of(checkout: Path) -> Iterator[Build]:
    """Give out the build of a checkout, such as a `git worktree` of another commit.

    Its package is linked into a folder of its own: the checkout's benchmarks must not be imported
    with it.

    Raises:
        UsageError: the folder does not hold the package.
    """
    package = checkout.resolve() / PACKAGE
    if not (package / "__init__.py").is_file():
        raise UsageError(
            f"--against {checkout} has no {PACKAGE}/, as a checkout of this library has; make one"
            " with git worktree add DIR COMMIT."
        )
    with TemporaryDirectory() as folder:
        (Path(folder) / PACKAGE).symlink_to(package)
        yield Build(_commit_of(checkout), folder)


def _commit_of(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return checkout.resolve().name
    return done.stdout.strip()
