from dataclasses import replace

import pytest

from benchmarks.gpu.numbers import Reading
from benchmarks.gpu.predicted import HAND_OVER_MS, hand_over_ms, predict, predictions
from tests.benchmarks.gpu_numbers import BFLOAT16, STAGE, all_met

TWO = replace(STAGE, n_stages=2, n_chunks=2)


def reading(*cells_ms: tuple[float, float], step_ms: float, host_ms: float = 0.0) -> Reading:
    return Reading((step_ms,), (host_ms,), cells_ms=cells_ms)


def test_stages_follow_one_another_with_a_copy_between() -> None:
    found = predict(TWO, reading((1.0, 2.0), (1.0, 2.0), step_ms=6.0))

    # F0 on stage 0, F0, F1, B1 and B0 on stage 1, B0 on stage 0; a copy before and after those.
    assert found.step_ms == pytest.approx(1 + 2 + 4 + 2 + 2 * hand_over_ms(TWO))


def test_the_waits_that_timing_needs_are_taken_out_again() -> None:
    with_waits = predict(TWO, reading((1.5, 2.5), (1.5, 2.5), step_ms=4.0))
    without = predict(TWO, reading((0.75, 1.25), (0.75, 1.25), step_ms=4.0))

    assert with_waits.step_ms == pytest.approx(without.step_ms)


def test_a_step_is_not_shorter_than_the_host_takes_to_queue_all_stages() -> None:
    found = predict(TWO, reading((0.1, 0.1), (0.1, 0.1), step_ms=0.4, host_ms=5.0))

    assert found.step_ms == 10.0


def test_a_copy_takes_its_bytes() -> None:
    # 256 steps of 64 rows of 256 numbers of 4 bytes, at 25 GB/s.
    assert hand_over_ms(TWO) == pytest.approx(HAND_OVER_MS + 256 * 64 * 256 * 4 / 25e6)
    half = hand_over_ms(replace(TWO, precision=BFLOAT16)) - HAND_OVER_MS
    assert half == pytest.approx((hand_over_ms(TWO) - HAND_OVER_MS) / 2)


def test_only_stages_that_were_measured_alone_are_predicted_from() -> None:
    assert [own.case for own in predictions(all_met())] == [STAGE]
