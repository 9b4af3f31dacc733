"""What a step frees is kept for the next one: no pages are asked for anew."""

import os
import platform
import subprocess
import sys

import pytest

from gru_parallel.app.freed_memory import keep_freed_memory

# Other C libraries have no such options: there is nothing to be seen.
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

# In a process of its own, whose allocator nobody has set, and with small pages alone (41 is
# PR_SET_THP_DISABLE). 160 MiB are more than two heaps.
COUNT_NEW_PAGES = """
import ctypes, resource, sys, threading
from gru_parallel.app.freed_memory import keep_freed_memory

def n_pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    for _ in range(2):
        before = n_pages()
        blocks = [b"x" * (4 << 20) for _ in range(40)]
        counts.append(n_pages() - before)
        del blocks

assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0
assert keep_freed_memory() is (sys.argv[1] == "kept")
counts = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(*counts)
"""


def new_pages(how: str, **environment: str) -> tuple[int, int]:
    command = [sys.executable, "-c", COUNT_NEW_PAGES, how]
    unset = {
        name: value
        for name, value in os.environ.items()
        if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")
    }
    found = subprocess.run(
        command, env=unset | environment, capture_output=True, text=True, check=True
    )
    first, second = map(int, found.stdout.split())
    return first, second


@needs_glibc
def test_a_second_step_finds_the_memory_of_the_first() -> None:
    first, second = new_pages("kept")

    assert first > 160 * 2**20 / 2 / os.sysconf("SC_PAGE_SIZE")
    assert second < first / 20


@needs_glibc
def test_settings_of_the_callers_own_stay() -> None:
    first, second = new_pages("not", MALLOC_MMAP_THRESHOLD_="131072")

    # Each block is mapped apart, as it was asked for.
    assert second > first / 2


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not keep_freed_memory()
