"""`python -m gru_parallel.train`: plan, train, test, report."""

import sys

from gru_parallel.app.train import main

if __name__ == "__main__":
    sys.exit(main())
