"""CPU time of a process with all that it has started."""

import subprocess
import sys
import time

from benchmarks.process_time import PROC, Seen, below, own_cpu_ms, parse_stat

BUSY = (
    "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ninput()"
)


def test_a_name_may_have_brackets_and_spaces() -> None:
    text = "12 (a (b) c) S 7 1 1 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 1 0 9 0 0"

    assert parse_stat(text, 100) == Seen(7, 3000.0)


def test_all_generations_are_below() -> None:
    alive = {2: Seen(1, 10.0), 3: Seen(2, 20.0), 4: Seen(9, 40.0), 5: Seen(3, 80.0)}

    assert sum(seen.cpu_ms for seen in below(1, alive)) == 110.0


def test_a_process_that_only_waits_by_now_counts() -> None:
    if not PROC.exists():
        return
    before = own_cpu_ms()
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE) as busy:
        end = time.monotonic() + 30
        while own_cpu_ms() - before < 250 and time.monotonic() < end:
            time.sleep(0.05)
        taken_ms = own_cpu_ms() - before
        busy.communicate(b"\n")

    assert taken_ms >= 250
