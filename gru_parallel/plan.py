"""`python -m gru_parallel.plan`: prints the plan that a run would have, and trains nothing."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("plan", sys.argv[1:]))
