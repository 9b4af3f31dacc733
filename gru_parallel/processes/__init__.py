"""A rank per stage: what goes between processes, and the engine that runs over them."""
