from dataclasses import replace
from io import StringIO

from rich.console import Console

from benchmarks.gpu.cases import Case, Precision, Way
from benchmarks.gpu.command import GPU, NO_TIME
from benchmarks.gpu.numbers import GPUNumbers, Reading
from benchmarks.gpu.tables import tables
from benchmarks.machine import Machine
from benchmarks.report import machine_line, markdown, print_report
from benchmarks.results import Results
from tests.benchmarks.gpu_numbers import EAGER, IN_8, STAGE, TARGET, TF32, UNCUT, all_met, read

LAUNCHES = Case(Way.LAUNCHES, TARGET, TF32, 4, 16)
MIXED = replace(UNCUT, precision=Precision.MIXED)
NUMBERS = (
    *all_met(),
    GPUNumbers(
        LAUNCHES, Reading(launches={"cudaGraphLaunch": 128, "cudaMemcpyAsync": 96}), "", 1.0
    ),
    GPUNumbers(replace(LAUNCHES, n_stages=1), None, "RuntimeError: no launches", 1.0),
    GPUNumbers(replace(UNCUT, n_chunks=32), None, "out of memory", 1.0),
    GPUNumbers(replace(EAGER, precision=Precision.BFLOAT16), None, NO_TIME),
    read(replace(EAGER, precision=Precision.BFLOAT16, shape=replace(TARGET, n_steps=4096)), 50.0),
    read(replace(MIXED, shape=replace(TARGET, n_steps=4096)), 10.0),
)
RESULTS = Results(
    "gpu",
    "2026-01-31",
    "python -m benchmarks gpu",
    Machine("Some CPU", 16, "Linux x86_64", {"torch": "2.13"}, ("NVIDIA H200", "NVIDIA H200")),
    NUMBERS,
)


def lines() -> list[str]:
    return markdown(RESULTS, tables(NUMBERS)).splitlines()


def line_of(name: str) -> str:
    (line,) = [line for line in lines() if line.startswith(f"| {name} |")]
    return line


def test_results_go_to_json_and_back() -> None:
    assert Results.from_json(RESULTS.to_json(), GPU) == RESULTS


def test_a_row_compares_a_step_with_nn_gru_with_and_without_a_graph() -> None:
    assert line_of(IN_8.name) == (
        "| S=1 C=8, in graphs | 34.50 (34.50-34.50) | 1.15 | 2.61 | 0.10 | 3 | 1 |"
    )


def test_mixed_precision_is_compared_with_nn_gru_in_bfloat16() -> None:
    assert "| 5.00 |" in line_of(MIXED.name)


def test_a_stage_alone_is_compared_with_nothing() -> None:
    assert line_of(STAGE.name).endswith("| 11.20 (11.20-11.20) |  |  | 0.10 |  |  |")


def test_a_prediction_says_that_it_is_one() -> None:
    (line,) = [line for line in lines() if line.startswith("| predicted, not measured: S=4 C=16")]
    assert "on 4 GPUs" in line


def test_what_failed_says_why_and_what_was_left_out_is_listed() -> None:
    assert "| out of memory |" in line_of("S=1 C=32, in graphs")
    assert f"### Left out for want of time: 1 of {len(NUMBERS)} cases" in lines()
    assert line_of(f"{TARGET}, bfloat16").endswith("| nn.GRU |")


def test_launches_stand_beside_what_cells_and_hand_overs_need() -> None:
    assert line_of(f"{TARGET}: {LAUNCHES.name}").endswith("| 128 | 0 | 96 | 128 | 96 |")


def test_launches_that_could_not_be_counted_say_why() -> None:
    failed = replace(LAUNCHES, n_stages=1)
    assert "| RuntimeError: no launches |" in line_of(f"{TARGET}: {failed.name}")


def test_the_first_line_names_the_cards() -> None:
    assert "2 x NVIDIA H200; Some CPU" in machine_line(RESULTS)


def test_the_terminal_shows_the_same_words() -> None:
    written = StringIO()
    print_report(RESULTS, tables(NUMBERS), Console(width=160, file=written))
    assert "34.50 (34.50-34.50)" in written.getvalue()
