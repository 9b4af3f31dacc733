"""`python -m gru_parallel.compare`: puts finished runs side by side, with mean and spread."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("compare", sys.argv[1:]))
