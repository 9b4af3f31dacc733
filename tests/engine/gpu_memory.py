"""How much memory of a GPU is in use, once everything that was queued has ended."""

import torch


def allocated_bytes() -> int:
    """Return the bytes in tensors on the current GPU."""
    torch.cuda.synchronize()
    # What another stream has used counts until the allocator looks whether it has ended.
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()
