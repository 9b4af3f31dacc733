"""Whether depth pays: stacks of one to eight layers with the same number of parameters."""
