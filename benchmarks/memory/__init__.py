"""Measures how the memory of a training step grows with the length of the sequence."""
