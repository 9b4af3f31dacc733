"""`python -m gru_parallel.verify`: cuts one nn.GRU in every way and shows that nothing changes."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("verify", sys.argv[1:]))
