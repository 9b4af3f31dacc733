"""Numbers with units: three digits, and the unit that fits."""

import math

import pytest

from gru_parallel.report.units import (
    byte_unit,
    format_bytes,
    format_difference,
    format_error,
    format_ms,
    format_percent,
    format_seconds,
)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "0 ms"),
        (0.01234, "0.0123 ms"),
        (0.9996, "1.00 ms"),
        (1.234, "1.23 ms"),
        (9.996, "10.0 ms"),
        (12.34, "12.3 ms"),
        (99.96, "100 ms"),
        (123.4, "123 ms"),
        (9999.4, "9,999 ms"),
        (12345.6, "12.3 s"),
        (1_272_301, "21 min 12 s"),
    ],
)
def test_a_time_has_three_digits_or_all_of_its_whole_ones(time_ms: float, text: str) -> None:
    assert format_ms(time_ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.456, "0.46 s"),
        (9.996, "10.0 s"),
        (12.34, "12.3 s"),
        (99.96, "1 min 40 s"),
        (200.4, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7512, "2 h 5 min"),
    ],
)
def test_a_long_time_is_in_minutes_and_hours(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1024, "1.00 KiB"),
        (1023.9 * 1024, "1.00 MiB"),
        (1.5 * 2**20, "1.50 MiB"),
        (80 * 2**30, "80.0 GiB"),
        (5000 * 2**40, "5,000 TiB"),
    ],
)
def test_memory_is_given_in_the_largest_unit_of_which_it_has_one(n_bytes: float, text: str) -> None:
    assert format_bytes(n_bytes) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.75, "75.0 %"), (3 / 19, "15.8 %"), (-1e-16, "0.0 %"), (1, "100.0 %")]
)
def test_a_share_has_one_decimal_and_no_negative_zero(share: float, text: str) -> None:
    assert format_percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.0, "0"), (4.36e-16, "4.4e-16"), (0.00999, "1.0e-02"), (0.953, "0.95"), (math.inf, "inf")],
)
def test_a_difference_has_two_digits(difference: float, text: str) -> None:
    assert format_difference(difference) == text


@pytest.mark.parametrize(
    ("error", "text"),
    [(0.38461, "0.3846"), (0.0, "0.0000"), (3.852e-05, "3.85e-05"), (123456.7, "123456.7000")],
)
def test_a_small_error_keeps_its_digits(error: float, text: str) -> None:
    assert format_error(error) == text


@pytest.mark.parametrize(
    ("n_bytes", "unit"), [(0, (1, "B")), (3 * 2**20, (2**20, "MiB")), (2**50, (2**40, "TiB"))]
)
def test_the_unit_of_an_amount_is_the_one_it_is_written_in(
    n_bytes: int, unit: tuple[int, str]
) -> None:
    assert byte_unit(n_bytes) == unit
