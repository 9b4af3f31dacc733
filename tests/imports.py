"""Which heavy libraries a piece of code imports, seen in a process of its own."""

import subprocess
import sys

_REPORT = """
import atexit, sys

heavy = ("lightning", "matplotlib", "numpy", "pandas", "torch")
imported = lambda: {name for name in heavy if name in sys.modules}
ended_at = set()

class End:
    def find_spec(name, *_):
        if name == END:
            ended_at.add(name)
            sys.exit()

sys.meta_path.insert(0, End)
atexit.register(lambda: print("imported:", *sorted(imported() | ended_at)))
"""


def heavy_imports(code: str, end_at: str | None = None) -> list[str]:
    """Run code, which may end its process, and return those libraries that it has imported.

    Args:
        code: what is run.
        end_at: a library at whose import the process ends, which spares it the seconds that takes.
    """
    program = f"END = {end_at!r}\n{_REPORT}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]
