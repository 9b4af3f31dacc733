"""`python -m gru_parallel.search`: searches for the settings with the lowest validation loss."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("search", sys.argv[1:]))
