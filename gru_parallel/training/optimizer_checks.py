"""Refuses an optimiser that does not go with what else a training step does."""

from __future__ import annotations

import math

from torch.optim import LBFGS, Optimizer

from gru_parallel.errors import UsageError


def check_clipping(optimizer: Optimizer, clip_val: float | None, *, is_scaled: bool) -> None:
    """Refuse to clip gradients that are still scaled.

    Args:
        optimizer: that takes the step after it.
        clip_val: what the gradients are clipped to; None or 0 for no clipping.
        is_scaled: whether the loss is multiplied by a scale, as with float16.

    Raises:
        UsageError: they are, because the optimiser unscales them in its step.
    """
    # So torch's GradScaler and Lightning tell such an optimiser.
    unscales_by_itself = getattr(optimizer, "_step_supports_amp_scaling", False)
    if clip_val and is_scaled and unscales_by_itself:
        raise UsageError(
            f"trainer.gradient_clip_val={clip_val} clips gradients that trainer.precision=16-mixed"
            f" has scaled and that {type(optimizer).__name__} with optimizer.fused=true unscales"
            " only in its step; leave out optimizer.fused, or use trainer.precision=bf16-mixed."
        )


def check_carrying(optimizer: Optimizer, n_runs: int = 1) -> None:
    """Refuse to carry states from batch to batch where a step runs its batch more than once.

    Each run leaves the states in which it ended, so the next would not begin as the first did.

    Args:
        optimizer: of a model with blocks that carry their state.
        n_runs: how often it has run the batch in a step on trial; LBFGS is known without one.

    Raises:
        UsageError: it may.
    """
    if n_runs > 1 or isinstance(optimizer, LBFGS):
        raise UsageError(
            "model.h_0=carry starts each batch where the one before has ended, and"
            f" {type(optimizer).__name__} runs a batch several times in one step, which would start"
            " it where it has ended itself; use another optimiser, or model.h_0=zeros."
        )


def check_watched(name: str, metric: float) -> None:
    """Refuse to move a rate by a metric that is not a finite number.

    Raises:
        UsageError: it is NaN, as a MASE without any known scale, or infinite.
    """
    if not math.isfinite(metric):
        raise UsageError(
            f"lr_scheduler.monitor={name} has come to {metric:g}, which is neither better"
            " nor worse than before; watch another metric, such as lr_scheduler.monitor=val/loss."
        )
