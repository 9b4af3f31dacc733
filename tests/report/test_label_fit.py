"""Labels in cells: as large as they fit, turned where cells are narrow, left out where tiny."""

import pytest

from gru_parallel.report.label_fit import LabelFit, fit_labels

HEIGHT = 24.0


def test_a_wide_cell_takes_its_label_level_and_no_larger_than_a_caption() -> None:
    assert fit_labels(["0.1"], 500, HEIGHT) == LabelFit(8.0, 0)


def test_a_narrower_cell_gets_a_smaller_font() -> None:
    fit = fit_labels(["0.1"], 13.6, HEIGHT)

    assert fit is not None
    assert fit.turn_degrees == 0
    assert 6 < fit.size_points < 8


def test_a_narrow_cell_gets_its_label_turned() -> None:
    fit = fit_labels(["0.1"], 9, HEIGHT)

    assert fit is not None
    assert fit.turn_degrees == 90


def test_the_longest_label_decides() -> None:
    assert fit_labels(["0.1"], 16, HEIGHT) == LabelFit(8.0, 0)
    assert fit_labels(["0.1", "10.15"], 16, 30) == LabelFit(8.0, 90)


@pytest.mark.parametrize("labels", [[], ["0.1"]])
def test_nothing_fits_into_a_sliver_and_no_label_needs_no_font(labels: list[str]) -> None:
    assert fit_labels(labels, 3, HEIGHT) is None
