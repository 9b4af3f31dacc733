"""The exceptions of the package. Each message gives the rule, the values and the remedy."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class UsageError(ValueError):
    """A setting or an input that cannot work; the entry points print it and exit with status 2."""


class DataWarning(UserWarning):
    """What a user should know of the data, which stops no run; the entry points print it."""


@contextmanager
def of_setting(setting: str, name: str) -> Iterator[None]:
    """Have what is said of one setting said of another, in errors and in warnings of the data.

    Args:
        setting: as messages from within name it.
        name: of the setting that they are about here.
    """
    names = {setting: name}
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    except UsageError as error:
        raise in_other_words(error, names) from error
    finally:
        for each in caught:
            message: Warning | str = each.message
            if issubclass(each.category, DataWarning):
                message = str(message).replace(setting, name)
            warnings.warn(message, each.category, stacklevel=3)


def in_other_words(error: UsageError, names: Mapping[str, str]) -> UsageError:
    """Say the same to a caller who knows the settings by other names.

    Args:
        error: names settings as the command line does.
        names: from a setting's name to the caller's.

    Returns:
        An error with the caller's names.
    """
    message = str(error)
    for setting, name in names.items():
        message = message.replace(setting, name)
    return UsageError(message)


def counted(number: int, noun: str, plural: str = "s") -> str:
    """Say how many there are, as in `1 block` and `2 blocks`."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def check_positive(setting: str, value: object) -> None:
    """Raise a UsageError that names the setting if a size is not a whole number of at least 1."""
    # bool is an int to Python, and `true` is no size.
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{setting}={value} is not a size; use a whole number of at least 1.")


class EndOfRunError(RuntimeError):
    """The run ends before its time, in order and in all its processes alike.

    Attributes:
        status: the exit status.
        ended: how, in the word that summary.json has for it.
    """

    status = 1
    ended = "failed"


class ShapeError(ValueError):
    """Tensors whose shapes do not fit the module or the schedule that they were given to."""


class ScheduleError(ValueError):
    """A schedule that is incomplete, out of order, or cannot finish."""
