"""Which devices `verify` spreads stages over."""

from __future__ import annotations

from gru_parallel.choices import hint
from gru_parallel.engine.devices import accelerator_names, existing_devices
from gru_parallel.errors import UsageError
from gru_parallel.verification.settings import Settings


def device_pools(settings: Settings) -> list[list[str]]:
    """Return the devices that the stages of one cut are spread over, for one cut after the other.

    By default those are the logical CPU devices, and then the accelerators, if there are any.
    """
    if settings.devices is not None:
        return [settings.devices]
    cpus = [name for name in existing_devices() if name.startswith("cpu:")]
    pools = [cpus, list(accelerator_names())]
    return [pool[: settings.num_layers] for pool in pools if pool]


def check_devices(settings: Settings) -> None:
    """Check that the devices of the settings exist.

    Raises:
        UsageError: one does not, is named twice, or none is named.
    """
    if settings.devices is None:
        return
    if not settings.devices:
        raise UsageError("devices=[] names none; write devices=[cpu:0,cpu:1], or leave it out.")
    existing = existing_devices()
    written = f"devices=[{','.join(settings.devices)}]"
    for index, name in enumerate(settings.devices):
        if name not in existing:
            raise UsageError(
                f"{written} names {name}, which does not exist; {hint(name, existing)}"
            )
        if name in settings.devices[:index]:
            raise UsageError(f"{written} names {name} twice; name each once.")
