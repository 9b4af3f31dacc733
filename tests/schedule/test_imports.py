import subprocess
import sys


def test_planning_and_scheduling_import_no_torch() -> None:
    program = (
        "import sys, gru_parallel.schedule, gru_parallel.placement, gru_parallel.planning; "
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
