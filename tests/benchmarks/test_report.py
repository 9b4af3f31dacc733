from dataclasses import replace
from io import StringIO

from rich.console import Console

from benchmarks.report import markdown, print_report
from benchmarks.samples import ShapeRun
from benchmarks.speed import tables
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.timed_tables import rounds_note
from tests.benchmarks.rounds import SHAPE, VARIANTS, a_round
from tests.benchmarks.test_results import RESULTS


def summary(*stolen: float | None, wanted: int = 1) -> ShapeSummary:
    rounds = tuple(a_round(stolen=share) for share in stolen)
    return summarise(ShapeRun(SHAPE, VARIANTS, rounds, wanted))


def test_the_note_counts_the_rounds_left_out() -> None:
    note = rounds_note(summary(0.0, 0.01, 0.3))
    assert note.startswith("3 rounds, 1 of them left out")
    assert "30.0%" in note


def test_the_note_says_when_too_few_rounds_remained() -> None:
    assert "leaves 1 where 5 were wanted" in rounds_note(summary(0.0, 0.3, wanted=5))


def test_the_note_says_when_all_rounds_were_disturbed() -> None:
    assert "disturbed rounds" in rounds_note(summary(0.3, 0.4))


def test_the_note_says_when_steal_is_unknown() -> None:
    assert "steal is unknown" in rounds_note(summary(None))


def test_markdown_has_a_line_a_variant_with_what_misses_marked() -> None:
    lines = markdown(RESULTS, tables(RESULTS.numbers)).splitlines()
    (line,) = [line for line in lines if line.startswith("| pipeline M=1 C=2 |")]
    assert line == (
        "| pipeline M=1 C=2 | 100.0 | 110.0 | 1.50 (1.50-1.50) | 40.0% (33.3%, 33.3%) ! | 1.11 |"
        " 100.0 | +10.0% ! | +6.0% ! |"
    )
    assert sum(line.startswith("| nn.GRU") for line in lines) == 2
    assert any(line.endswith("| MISSED |") for line in lines)
    assert any(line.endswith("| met |") for line in lines)


def test_the_lines_of_a_markdown_table_are_equally_long() -> None:
    text = markdown(RESULTS, tables(RESULTS.numbers))
    blocks = [block for block in text.split("\n\n") if block.startswith("| ")]
    assert len(blocks) == 2
    for table in blocks:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_terminal_shows_the_same_words() -> None:
    written = StringIO()
    results = replace(RESULTS, date="2026-02-28")
    print_report(results, tables(results.numbers), Console(width=140, file=written))
    text = written.getvalue()
    assert "2026-02-28; Some CPU" in text
    assert "1.50 (1.50-1.50)" in text
    assert "MISSED" in text


def test_the_note_says_when_the_machine_was_busy_with_something_else() -> None:
    busy = summarise(ShapeRun(SHAPE, VARIANTS, (a_round(others=0.4),), 1))
    assert "not quiet" in rounds_note(busy)
    assert "not quiet" not in rounds_note(summary(0.0))
