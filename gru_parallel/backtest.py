"""`python -m gru_parallel.backtest`: forecasts from one origin after the other, and measures."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("backtest", sys.argv[1:]))
