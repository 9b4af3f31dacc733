"""`python -m gru_parallel.plan`: prints the plan that a run would have, and trains nothing."""

import sys

from gru_parallel.app.plan import main

if __name__ == "__main__":
    sys.exit(main())
