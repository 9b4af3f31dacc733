from dataclasses import asdict

import pytest

from benchmarks.memory.cases import ALL_CASES, QUICK_CASES, RECOMPUTING, Case, Kind
from benchmarks.memory.command import MEMORY
from benchmarks.memory.numbers import MemoryNumbers, growth, read_numbers, savings

MIB = 2**20


def numbers(kind: Kind, n_steps: int, resident_mib: float, saved_mib: int = 5) -> MemoryNumbers:
    """Numbers of a case, with 3 kB of Python objects a chunk."""
    case = Case(kind, n_steps)
    resident = tuple(int(factor * resident_mib * MIB) for factor in (0.5, 1, 3))
    return MemoryNumbers(case, resident, saved_mib * MIB, case.n_chunks * 3_000, (2, 1))


def measured(last_mib: float = 6, saved_mib: int = 5) -> list[MemoryNumbers]:
    return [
        numbers(Kind.PIPELINE, 1_000, 100, 90),
        numbers(Kind.PIPELINE, 10_000, 1_000, 900),
        numbers(Kind.TRUNCATED, 100_000, last_mib, saved_mib),
        numbers(Kind.TRUNCATED, 1_000, 5),
    ]


def test_growth_goes_from_the_shortest_to_the_longest_truncated_case() -> None:
    grown = growth(measured())
    assert grown.resident_bytes == MIB
    assert grown.bytes_a_step == pytest.approx(MIB / 99_000)
    assert grown.python_bytes_a_chunk == 3_000
    assert grown.saved_bytes == 0


def test_growth_is_held_against_the_longest_case_without_truncation() -> None:
    assert growth(measured()).full_bytes_a_step == pytest.approx(MIB / 10)


@pytest.mark.parametrize(("last_mib", "flat"), [(6, True), (100, True), (110, False)])
def test_a_step_more_may_take_a_hundredth(last_mib: float, flat: bool) -> None:
    assert growth(measured(last_mib)).resident_is_flat is flat


@pytest.mark.parametrize(("saved_mib", "flat"), [(5, True), (6, False)])
def test_saved_activations_may_not_grow(saved_mib: int, flat: bool) -> None:
    assert growth(measured(saved_mib=saved_mib)).saved_is_flat is flat


def test_recomputation_is_held_against_nn_gru_on_a_sequence_as_long() -> None:
    found = [
        numbers(Kind.WHOLE, 1_000, 100, 40),
        numbers(Kind.WHOLE, 10_000, 100, 400),
        numbers(Kind.RECOMPUTED, 10_000, 100, 20),
        numbers(Kind.RECOMPUTED, 100_000, 100, 200),
        numbers(Kind.ONE_STAGE, 1_000, 100, 3),
    ]
    two, one = savings(found)
    assert (two.share, two.is_enough) == (1 / 20, True)
    assert (one.share, one.is_enough) == (3 / 40, False)


def test_foundgo_to_a_dictionary_and_back() -> None:
    (own, *_) = measured()
    assert read_numbers(asdict(own)) == own


def test_the_tables_show_each_case_and_judge_the_truncated_one() -> None:
    cases, targets = MEMORY.tables(measured(110))
    assert cases.rows[0] == (
        "pipeline",
        "1,000",
        "10",
        "100.0 (50.0-300.0)",
        "90.0 (11.52)",
        "0.03",
        "2, 1",
    )
    assert cases.note.endswith("3.0 kB a chunk.")
    assert [row[-1] for row in targets.rows] == ["MISSED", "met"]
    assert targets.rows[0][1] == (
        "+105.0 MiB from T=1,000 to T=100,000: 1,112 bytes a step of 104,858"
    )


@pytest.mark.parametrize(("saved_mib", "met"), [(16, "met"), (17, "MISSED")])
def test_the_lean_core_is_judged_by_what_it_saves_of_each_layers_outputs(
    saved_mib: int, met: str
) -> None:
    # 2.1 times 1,000 steps of 4 layers, 8 rows and 64 units are 16.4 MiB.
    lean = numbers(Kind.LEAN, 1_000, 20, saved_mib)
    _, targets = MEMORY.tables([*measured(), lean])
    assert targets.rows[-1][-1] == met


@pytest.mark.parametrize("cases", [ALL_CASES, QUICK_CASES], ids=["all", "quick"])
def test_the_cases_are_enough_to_judge_by(cases: tuple[Case, ...]) -> None:
    found = [numbers(case.kind, case.n_steps, 1) for case in cases]
    grown = growth(found)
    assert grown.first.case.n_steps < grown.last.case.n_steps
    assert {saving.own.case.kind for saving in savings(found)} == set(RECOMPUTING)


def test_only_truncation_cuts_the_gradient() -> None:
    assert Case(Kind.PIPELINE, 1_000).plan.grid.truncate is None
    assert Case(Kind.LEAN, 1_000).plan == Case(Kind.PIPELINE, 1_000).plan
    plan = Case(Kind.TRUNCATED, 1_000).plan
    assert (plan.grid.truncate, plan.grid.n_chunks, plan.devices) == (1, 10, ("cpu:0", "cpu:1"))


def test_the_cases_that_recompute_say_so_in_their_plans() -> None:
    recomputing = {kind for kind in Kind if Case(kind, 1_000).plan.grid.recomputes}
    assert recomputing == set(RECOMPUTING)
    assert Case(Kind.ONE_STAGE, 1_000).plan.devices == ("cpu:0",)
