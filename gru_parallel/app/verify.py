"""The heavy half of `verify`: cuts one nn.GRU in every way and shows that nothing changes."""

from __future__ import annotations

import torch
from rich.console import Console

from gru_parallel.assembly.memory import check_memory_of_verify
from gru_parallel.report.verification import cuts_heading, cuts_tables, starts_tables, verdict
from gru_parallel.verification.cuts import measure_cuts
from gru_parallel.verification.devices import check_devices
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import measure_starts

BROKEN = 1


def show(settings: Settings) -> int:
    """Measure and print; return the exit status.

    Raises:
        UsageError: a device does not exist, or the memory is too small.
    """
    check_memory_of_verify(settings)
    check_devices(settings)
    # With TF32, cuDNN would keep three digits of a float32.
    torch.backends.cudnn.allow_tf32 = False
    # For tensors this small a second intra-op thread mostly waits for a core.
    torch.set_num_threads(1)
    console = Console()
    with console.status("Cutting one nn.GRU in every way"):
        cuts, answers = list(measure_cuts(settings)), list(measure_starts(settings))
    console.print(cuts_heading(settings))
    for table in (*cuts_tables(cuts, settings), *starts_tables(answers, settings)):
        console.print(table, "")
    console.print(verdict(cuts, answers, settings.tolerance))
    kept = [cut.is_kept(settings.tolerance) for cut in cuts]
    kept += [answer.is_kept(settings.tolerance) for answer in answers]
    return 0 if all(kept) else BROKEN
