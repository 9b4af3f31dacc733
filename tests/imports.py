"""Which heavy libraries a piece of code imports, seen in a process of its own."""

import subprocess
import sys

_REPORT = """
import atexit, sys
heavy = ("lightning", "matplotlib", "numpy", "pandas", "torch")
atexit.register(lambda: print("imported:", *(name for name in heavy if name in sys.modules)))
"""


def heavy_imports(code: str) -> list[str]:
    """Run code, which may end its process, and return those libraries that it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", _REPORT + code], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]
