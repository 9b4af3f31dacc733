"""Train stacks of GRUs over several devices, with the numbers that one `nn.GRU` would give."""
