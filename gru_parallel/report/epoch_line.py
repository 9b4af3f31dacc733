"""What a run prints about an epoch: one line, where there is no progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gru_parallel.report.units import format_seconds

if TYPE_CHECKING:
    # To import it takes torch, which nothing here needs.
    from gru_parallel.training.epoch_record import EpochResult


def epoch_line(result: EpochResult, n_epochs: int) -> str:
    """Describe an epoch, or a validation within one, in one line.

    Args:
        result: the run's losses there.
        n_epochs: of the whole run; -1 for a run without a known end.

    Returns:
        Like "Epoch 0 (1 of 5): train 0.2345, val 0.3456 (best), lr 0.001, 12.3 s". Epochs are
        counted from 0, as in metrics.csv and Lightning's progress bar.
    """
    epoch = f"Epoch {result.epoch}" + (
        "" if n_epochs < 0 else f" ({result.epoch + 1} of {n_epochs})"
    )
    moment = "" if result.is_end else f", step {result.step}"
    parts = [f"train {result.train_loss:.4g}"]
    if result.validation:
        best = " (best)" if result.is_best else ""
        parts.append(f"val {result.validation['val/loss']:.4g}{best}")
    parts += [f"lr {result.rate:.3g}", format_seconds(result.seconds)]
    return f"{epoch}{moment}: {', '.join(parts)}"
