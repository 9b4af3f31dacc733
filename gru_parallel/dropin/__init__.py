"""The drop-in for nn.GRU."""
