"""Times, memory and shares for people, with their units. Files get the bare numbers."""

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_ms(time_ms: float) -> str:
    """Write a time with three significant digits: `0.0123 ms`, `4.56 ms`, `1,234 ms`, `21.5 s`."""
    return f"{_three_digits(time_ms)} ms" if time_ms < 9999.5 else format_seconds(time_ms / 1e3)


def format_seconds(seconds: float) -> str:
    """Write a time of at least 0 s: `0.46 s`, `12.3 s`, `3 min 20 s` or `2 h 5 min`."""
    if seconds < 99.95:
        return f"{seconds:.1f} s" if seconds >= 9.995 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def format_bytes(n_bytes: float) -> str:
    """Write an amount of memory in the largest unit, a power of 1024, in which it is 1 or more."""
    amount = float(n_bytes)
    for unit in _BYTE_UNITS[:-1]:
        # 999.5 and more would print as 1,000 of this unit.
        if abs(amount) < 999.5:
            return f"{_three_digits(amount)} {unit}" if unit != "B" else f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{_three_digits(amount)} {_BYTE_UNITS[-1]}"


def byte_unit(largest: float) -> tuple[int, str]:
    """Return the bytes and the name of the unit that `format_bytes` writes an amount in."""
    unit = format_bytes(largest).split()[1]
    return 1024 ** _BYTE_UNITS.index(unit), unit


def format_percent(share: float) -> str:
    """Write a share, from 0 to 1, in percent with one decimal."""
    # Rounded first, so that a share just below zero does not print as -0.0.
    return f"{round(100 * share, 1) + 0.0:.1f} %"


def format_difference(difference: float) -> str:
    """Write a relative difference of at least 0: `0`, `4.4e-16`, `0.95` or `inf`."""
    if difference == 0:
        return "0"
    return f"{difference:.1e}" if difference < 0.01 else f"{difference:.2f}"


def format_error(error: float) -> str:
    """Write an error of forecasts: `0.3846`, of a small one `3.85e-05`, of a huge one `1.2e+11`."""
    return f"{error:.4f}" if error == 0 or 0.001 <= error < 1e6 else f"{error:.3g}"


def _three_digits(number: float) -> str:
    size = abs(number)
    if size >= 99.95:
        return f"{number:,.0f}"
    if size >= 9.995:
        return f"{number:.1f}"
    return f"{number:.2f}" if size >= 0.9995 else f"{number:.3g}"
