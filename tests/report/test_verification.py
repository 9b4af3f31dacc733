"""The tables of verify: what they group, what they round, what they say at the end."""

import math
from io import StringIO

from rich.console import Console, RenderableType

from gru_parallel.report.verification import cuts_tables, starts_tables, verdict
from gru_parallel.verification.cuts import Cut, Kind, Placement
from gru_parallel.verification.difference import Differences
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import Answer

SETTINGS = Settings(num_layers=4, lengths=[12, 3])
GOOD = Differences(0.0, 1e-16, 2e-16, 3e-16, 4e-16)
BAD = Differences(0.0, 1e-16, 2e-16, 3e-16, 0.12)


def make_cut(
    differences: Differences = GOOD,
    device_map: tuple[str, ...] | None = ("cuda:0", "cuda:1"),
    n_chunks: int = 1,
    core: str = "fused",
) -> Cut:
    kind = Kind(bidirectional=False, lengths=None)
    return Cut(kind, Placement(2, device_map), "gpipe", 2, n_chunks, core, differences)


def make_answer(output: float, *, should_equal: bool) -> Answer:
    return Answer("nn.GRU", "(b) zeros", "h_0", output, 0.0, should_equal)


def printed(*renderables: RenderableType) -> str:
    file = StringIO()
    Console(file=file, width=80).print(*renderables, sep="\n")
    return file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_row_has_the_largest_difference_of_all_its_cuts() -> None:
    cuts = [make_cut(), make_cut(BAD, n_chunks=4), make_cut(core="lean")]
    where, how, what, core = cuts_tables(cuts, SETTINGS)

    numbers = ["0", "1.0e-16", "2.0e-16", "3.0e-16"]
    assert ["2", "layers", "cuda:0,", "cuda:1", *numbers, "0.12", "NO"] in rows(printed(where))
    assert ["gpipe", "2", "x", "1", "cells", *numbers, "4.0e-16", "yes"] in rows(printed(how))
    assert ["gpipe", "2", "x", "4", "cells", *numbers, "0.12", "NO"] in rows(printed(how))
    assert ["one", "12", "steps", *numbers, "0.12", "NO"] in rows(printed(what))
    assert ["fused", *numbers, "0.12", "NO"] in rows(printed(core))
    assert ["lean", *numbers, "4.0e-16", "yes"] in rows(printed(core))


def test_long_device_names_fit_80_columns() -> None:
    maps = [("cuda:0+cuda:1",), ("cuda:6", "cuda:7"), tuple(f"cuda:{k}" for k in range(8)), None]
    where = next(iter(cuts_tables([make_cut(device_map=each) for each in maps], SETTINGS)))

    text = printed(where)

    for shown in ("cuda:0+cuda:1 ", "cuda:6, cuda:7 ", "cuda:0 to cuda:7 ", "no device map "):
        assert shown in text
    assert len(text.splitlines()) == 2 + len(maps)


def test_what_should_differ_keeps_its_promise_by_differing() -> None:
    answers = [make_answer(output, should_equal=False) for output in (0.5, 1e-16, math.inf)]

    text = printed(*starts_tables(answers, SETTINGS))

    assert "2 GRUs of 2 layers" in text
    assert ["(b)", "zeros", "h_0", "0.50", "0", "differ", "yes"] in rows(text)
    assert ["(b)", "zeros", "h_0", "1.0e-16", "0", "differ", "NO"] in rows(text)
    # Of what is no number it cannot be said how much it differs.
    assert ["(b)", "zeros", "h_0", "inf", "0", "differ", "NO"] in rows(text)


def test_the_last_line_counts_what_was_kept() -> None:
    found = verdict([make_cut()], [make_answer(0.5, should_equal=False)], 1e-12)

    assert str(found) == "All promises kept: 1 cuts, 1 answers about h_0."


def test_the_last_line_names_the_worst_cut_and_the_first_answer_that_is_broken() -> None:
    found = verdict([make_cut(), make_cut(BAD)], [make_answer(0.0, should_equal=False)], 1e-12)

    assert str(found) == (
        "BROKEN: 1 of 2 cuts, 1 of 1 answers about h_0. Worst cut: one direction, whole sequences,"
        " blocks of 2 layers, cuda:0, cuda:1, gpipe, 2 x 1 cells, core=fused, off by 1.2e-01."
        " First answer: (b) zeros should differ from nn.GRU with h_0."
    )
