"""The device of torch behind a device's name."""

import torch


def torch_device(name: str) -> torch.device:
    """Return torch's device behind a name; every logical CPU device is torch's one CPU."""
    device = torch.device(name)
    return torch.device("cpu") if device.type == "cpu" else device
