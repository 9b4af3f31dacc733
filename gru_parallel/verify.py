"""`python -m gru_parallel.verify`: cuts one nn.GRU in every way and shows that nothing changes."""

import sys

from gru_parallel.app.verify import main

if __name__ == "__main__":
    sys.exit(main())
