"""Cuts one `nn.GRU` in every way and measures how far each is from it: what `verify` shows."""
