"""Keeps what has been imported out of the garbage collections that the product asks for."""

import gc

import torch


def freeze_heap() -> None:
    """Have the garbage collector leave alone what there is, as after collecting tests."""
    # Optimizers import much at the first of them.
    torch.optim.SGD([torch.zeros(1)])
    gc.collect()
    gc.freeze()
