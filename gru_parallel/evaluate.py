"""`python -m gru_parallel.evaluate`: tests the model of a finished run again, or on other data."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("evaluate", sys.argv[1:]))
