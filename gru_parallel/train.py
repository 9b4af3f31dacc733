"""`python -m gru_parallel.train`: plan, train, test, report."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("train", sys.argv[1:]))
