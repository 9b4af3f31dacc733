"""The exceptions of the package. Each message gives the rule, the values and the remedy."""


class UsageError(ValueError):
    """A setting or an input that cannot work; the entry points print it and exit with status 2."""


class ShapeError(ValueError):
    """Tensors whose shapes do not fit the module or the schedule that they were given to."""


class ScheduleError(ValueError):
    """A schedule that is incomplete, out of order, or cannot finish."""
