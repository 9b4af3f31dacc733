"""One rank per stage: transfers between processes, and the engine that runs over them."""
