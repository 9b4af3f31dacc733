"""`python -m gru_parallel.report`: writes a page of what runs came to."""

import sys

from gru_parallel.app.commands import run

if __name__ == "__main__":
    sys.exit(run("report", sys.argv[1:]))
