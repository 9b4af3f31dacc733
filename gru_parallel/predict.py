"""`python -m gru_parallel.predict`: forecasts with the model of a finished run."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("predict", sys.argv[1:]))
