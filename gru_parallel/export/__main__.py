"""`python -m gru_parallel.export`: writes the model of a run for others to use."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("export", sys.argv[1:]))
