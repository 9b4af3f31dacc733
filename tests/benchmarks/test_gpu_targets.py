from dataclasses import replace

import pytest

from benchmarks.gpu.cases import Case
from benchmarks.gpu.numbers import GPUNumbers
from benchmarks.gpu.targets import judge_all
from benchmarks.targets import Verdict
from tests.benchmarks.gpu_numbers import (
    EAGER,
    GRAPH,
    IN_8,
    IN_16,
    STAGE,
    TF32,
    UNCUT,
    all_met,
    read,
    stage_alone,
)


def of_tf32(numbers: list[GPUNumbers]) -> list[Verdict]:
    return [verdict for verdict in judge_all(numbers) if verdict.target.startswith(TF32)]


def test_each_target_of_a_shape_is_judged() -> None:
    verdicts = of_tf32(all_met())

    assert [verdict.met for verdict in verdicts] == [True] * 6
    assert [v.measured for v in verdicts[:4]] == ["1.00 x", "3.00 x", "1.15 x", "0.20 ms"]
    assert verdicts[-1].measured == "0.33 x"


@pytest.mark.parametrize(
    ("case", "worse", "missed"),
    [
        (UNCUT, read(UNCUT, 31.0), {0, 1}),
        (UNCUT, read(UNCUT, 93.0), {0, 1, 5}),
        (IN_8, read(IN_8, 35.0), {2}),
        (IN_16, read(IN_16, 36.0, host_ms=0.21), {3}),
        (STAGE, stage_alone(STAGE, [(0.25, 0.5)] * 16, 16 * 0.85), {4}),
    ],
)
def test_a_target_is_missed_by_its_own_number(
    case: Case, worse: GPUNumbers, missed: set[int]
) -> None:
    numbers = [worse if own.case == case else own for own in all_met()]

    assert {i for i, verdict in enumerate(of_tf32(numbers)) if not verdict.met} == missed


@pytest.mark.parametrize("case", [GRAPH, IN_8, IN_16, STAGE])
def test_what_was_not_measured_is_neither_met_nor_missed(case: Case) -> None:
    failed = GPUNumbers(case, None, "out of memory", 1.0)
    numbers = [failed if own.case == case else own for own in all_met()]

    unknown = [verdict for verdict in of_tf32(numbers) if verdict.met is None]

    assert unknown
    assert {verdict.measured for verdict in unknown} == {"not measured"}


def test_the_worst_shape_decides_whether_it_is_ever_slower_than_nn_gru() -> None:
    narrow = replace(EAGER, shape=replace(EAGER.shape, hidden_size=128))
    slower = [read(narrow, 10.0), read(replace(UNCUT, shape=narrow.shape), 10.4)]
    unmeasured = [read(replace(EAGER, shape=replace(EAGER.shape, hidden_size=1024)), 10.0)]

    verdict = judge_all([*all_met(), *slower, *unmeasured])[-1]

    assert (verdict.shape, verdict.measured, verdict.met) == (narrow.shape, "1.04 x", False)
    assert "of the 2 shapes measured of 3" in verdict.target
