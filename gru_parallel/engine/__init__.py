"""Engines run a schedule: stages work, channels carry tensors, an interpreter reads the lists."""

from gru_parallel.engine.devices import default_devices, existing_devices
from gru_parallel.engine.engine import Engine, WholeEngine
from gru_parallel.engine.threads import ThreadEngine

__all__ = ["Engine", "ThreadEngine", "WholeEngine", "default_devices", "existing_devices"]
