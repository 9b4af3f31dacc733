"""Engines run a schedule: stages work, channels carry tensors, an interpreter reads the lists."""

from typing import TYPE_CHECKING

from gru_parallel.lazy import lazily

if TYPE_CHECKING:
    from gru_parallel.engine.devices import default_devices as default_devices
    from gru_parallel.engine.devices import existing_devices as existing_devices
    from gru_parallel.engine.engine import Engine as Engine
    from gru_parallel.engine.engine import WholeEngine as WholeEngine
    from gru_parallel.engine.threads import ThreadEngine as ThreadEngine
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "devices": "default_devices existing_devices",
            "engine": "Engine WholeEngine",
            "threads": "ThreadEngine",
        },
    )
