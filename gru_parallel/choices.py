"""The names that settings choose from, and what an unknown name could have been meant for."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

POLICIES = ("zeros", "given", "learned", "carry", "previous")
"""Where the state comes from that enters a block: model.h_0."""

CORES = ("auto", "native", "fused", "lean")
"""How a layer computes a chunk: model.core."""

NORMS = ("none", "layer")
"""What normalises the inputs of each layer: model.norm."""

DECAYED = ("all", "feedforward")
"""Which weights decay: optimizer.weight_decay_on."""

CENTRES = ("last", "standardize", "scale", "none")
"""What a window is relative to: data.centre."""

COLUMN_SCALINGS = ("standardize", "none")
"""What is done with each column before it is cut into windows: data.scaling."""

CALENDAR = (
    "minute",
    "hour",
    "dayofweek",
    "day",
    "dayofyear",
    "week",
    "month",
    "quarter",
    "is_weekend",
)
"""What can be read from a date: data.calendar."""

LEAST_VARIANCE = 1e-5
"""What is added to the variance of a window, so that one of equal values has a scale, too."""

AUTO_CORES = {"cpu": "fused"}
"""What `auto` stands for on each kind of device; native on those that are not here."""

HEAD_TASKS = {"window": "window", "every_step": "every_step", "decoder": "window"}
"""From the name of each head, model.head, to what it predicts: `WindowShape.task`."""

POINT_LOSSES = ("mse", "mae", "huber")
"""Losses of one number for each value that is forecast: model.loss."""

DISTRIBUTIONS = {"normal": 2, "negative_binomial": 2}
"""From the name of a likelihood, model.loss, to the numbers of its distribution."""

LOSS_NAMES = (*POINT_LOSSES, "quantile", *DISTRIBUTIONS)
"""What can be minimised: model.loss."""

DEFAULT_QUANTILES = (0.1, 0.5, 0.9)
"""Those that are forecast where model.quantiles is null."""

COUNTS = "negative_binomial"
"""The loss of counts, whole numbers from 0 on."""


RECOMPUTE = ("none", "cell")
"""What B runs again of F, schedule.recompute: nothing, or all of its cell."""

AUTO_SCHEDULES = ("one_f_one_b", "zero_bubble")
"""What a search takes for `auto`: gpipe takes as long as 1F1B and keeps more; naive is slower."""

COST_SOURCES = ("cached", "measure", "analytic")
"""Where the times of layers come from that a plan is made by: plan."""

LAST = "last"
"""As ckpt_path: the newest good checkpoint in the folder of the run."""

KEEP = "keep"
SCALINGS = ("refit", KEEP)
"""By what a run standardises that begins with another's weights, init_from_scaling."""

CHECKPOINTS = ("best", "last")
"""Which checkpoint of a run is used: that with the lowest loss in validation, or the last one."""

AUTO = "auto"
"""Leaves a choice to the planner: a device map, a schedule, a core, a number of anything."""

CLUSTER_HERE = "local"
"""The name of the cluster that is this machine's own devices: cluster.name."""


ERRORS = ("mse", "mae", "rmse", "smape", "mase")
"""What is measured of every forecast, in validation and test, beside its loss."""


def coverage_names(levels: Sequence[float]) -> tuple[str, ...]:
    """Return the names of the shares of values that central intervals hold, the widest first.

    Args:
        levels: of quantiles, ascending: the first and the last are the bounds of one interval, the
            second and the last but one those of the next.
    """
    bounds = [(levels[k], levels[-1 - k]) for k in range(len(levels) // 2)]
    percents = (f"{100 * (upper - lower):.4g}" for lower, upper in bounds)
    return tuple(f"coverage_{percent}".replace(".", "_") for percent in percents)


def metric_names(levels: Sequence[float]) -> tuple[str, ...]:
    """Return the names of all that is measured of forecasts.

    Args:
        levels: of their quantiles; () for none.
    """
    return (*ERRORS, *(("pinball", *coverage_names(levels)) if levels else ()))


def core_on(device: str, core: str) -> str:
    """Return the core that one of `CORES` stands for on a device, like "cpu:1" or "cuda"."""
    if core != AUTO:
        return core
    return AUTO_CORES.get(device.partition(":")[0], "native")


def meant(name: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name that is nearest to an unknown one; None where none is near."""
    return next(iter(get_close_matches(str(name), list(known), n=1, cutoff=cutoff)), None)


def hint(name: object, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of a message about an unknown name: which one is near, and which there are.

    Args:
        name: that is unknown.
        known: names that there are.
        prefix: what stands before the name where it is written.
    """
    near = meant(name, known)
    start = "use one of" if near is None else f"did you mean {prefix}{near}? There are"
    return f"{start} {', '.join(known)}."
