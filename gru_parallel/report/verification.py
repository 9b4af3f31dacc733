"""What `verify` prints: how far every cut is from one `nn.GRU`, and where h_0 comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.errors import counted
from gru_parallel.report.units import format_difference
from gru_parallel.verification.cuts import Cut
from gru_parallel.verification.difference import largest_of_each
from gru_parallel.verification.settings import Settings
from gru_parallel.verification.starts import Answer, layers_each

MEASURES = ("output", "h_n", "dL/dx", "dL/dh_0", "dL/dw")


def cuts_heading(settings: Settings) -> Text:
    """Describe what is compared, how, and what is promised."""
    return Text(
        f"One nn.GRU of {settings.num_layers} layers, hidden size {settings.hidden_size},"
        f" {settings.dtype}, against gru_parallel.GRU.\n"
        "Each row has the largest differences of all cuts that it stands for, relative\n"
        f"to the largest entry. Promised is at most {settings.tolerance:g}.\n"
    )


def cuts_tables(cuts: Sequence[Cut], settings: Settings) -> Iterator[Table]:
    """Show the cuts four times: by where, by how, by what is cut and by the core that computes.

    Tables are at most 80 columns wide.
    """
    columns: tuple[dict[str, Callable[[Cut], str]], ...] = (
        {
            "blocks of": lambda cut: counted(cut.placement.layers_per_block, "layer"),
            "stages on": lambda cut: _devices(cut.placement.device_map),
        },
        {
            "schedule": lambda cut: cut.schedule,
            "cut into": lambda cut: f"{cut.n_micro_batches} x {cut.n_chunks} cells",
        },
        {
            "directions": lambda cut: "both" if cut.kind.bidirectional else "one",
            "sequences": lambda cut: _steps(cut.kind.lengths, settings),
        },
        {"core": lambda cut: cut.core},
    )
    for labels in columns:
        yield _cuts_table(cuts, settings, labels)


def starts_tables(answers: Sequence[Answer], settings: Settings) -> Iterator[Table]:
    """Show the answers about h_0, in a table for each thing that they are made of in turn."""
    each = layers_each(settings.num_layers)
    several = f"{settings.num_layers // each} GRUs of {counted(each, 'layer')}"
    titles = {
        "nn.GRU": (f"{several}, one after the other", "later ones begin with"),
        "blocks": (f"{several} as blocks of gru_parallel", "model.h_0"),
    }
    for made_of, group in groupby(answers, key=lambda answer: answer.made_of):
        title, start = titles[made_of]
        table = _table(title)
        table.add_column(start, min_width=len("(c) the h_n before them"))
        table.add_column("nn.GRU begins with", min_width=len("its last h_n, detached"))
        for measure in ("output", "dL/dw"):
            table.add_column(measure, justify="right", min_width=7)
        table.add_column("should")
        table.add_column("kept")
        for answer in group:
            table.add_row(
                answer.start,
                answer.against,
                format_difference(answer.output),
                format_difference(answer.gradients),
                "equal" if answer.should_equal else "differ",
                _kept(answer.is_kept(settings.tolerance)),
            )
        yield table


def verdict(cuts: Sequence[Cut], answers: Sequence[Answer], tolerance: float) -> Text:
    """The last line: whether all promises are kept, or else the worst cut and the first answer."""
    broken_cuts = [cut for cut in cuts if not cut.is_kept(tolerance)]
    broken_answers = [answer for answer in answers if not answer.is_kept(tolerance)]
    if not broken_cuts and not broken_answers:
        return Text(f"All promises kept: {len(cuts)} cuts, {len(answers)} answers about h_0.")
    words = [
        f"BROKEN: {len(broken_cuts)} of {len(cuts)} cuts,"
        f" {len(broken_answers)} of {len(answers)} answers about h_0."
    ]
    if broken_cuts:
        worst = max(broken_cuts, key=lambda cut: cut.differences.largest)
        words.append(f"Worst cut: {_where(worst)}, off by {worst.differences.largest:.1e}.")
    if broken_answers:
        answer = broken_answers[0]
        should = "equal" if answer.should_equal else "differ from"
        words.append(f"First answer: {answer.start} should {should} nn.GRU with {answer.against}.")
    return Text(" ".join(words), style="bold red")


def _table(title: str | None = None) -> Table:
    return Table(
        title=None if title is None else Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def _cuts_table(
    cuts: Sequence[Cut], settings: Settings, labels: dict[str, Callable[[Cut], str]]
) -> Table:
    """Make one row of all cuts with the same labels."""
    table = _table()
    for name in labels:
        table.add_column(name, min_width=len("one_f_one_b"))
    for measure in MEASURES:
        table.add_column(measure, justify="right", min_width=7)
    table.add_column("kept")
    rows: dict[tuple[str, ...], list[Cut]] = {}
    for cut in cuts:
        rows.setdefault(tuple(label(cut) for label in labels.values()), []).append(cut)
    for row, found in rows.items():
        table.add_row(
            *row,
            *map(format_difference, astuple(largest_of_each(cut.differences for cut in found))),
            _kept(all(cut.is_kept(settings.tolerance) for cut in found)),
        )
    return table


def _steps(lengths: tuple[int, ...] | None, settings: Settings) -> str:
    if lengths is None:
        return f"{settings.n_steps} steps"
    return f"{min(lengths)} to {max(lengths)} steps"


def _devices(device_map: tuple[str, ...] | None) -> str:
    if device_map is None:
        return "no device map"
    names = list(dict.fromkeys(device_map))
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} to {names[-1]}"


def _where(cut: Cut) -> str:
    directions = "both directions" if cut.kind.bidirectional else "one direction"
    lengths = "whole" if cut.kind.lengths is None else "unequal"
    return (
        f"{directions}, {lengths} sequences,"
        f" blocks of {counted(cut.placement.layers_per_block, 'layer')},"
        f" {_devices(cut.placement.device_map)}, {cut.schedule},"
        f" {cut.n_micro_batches} x {cut.n_chunks} cells, core={cut.core}"
    )


def _kept(kept: bool) -> Text:
    return Text("yes") if kept else Text("NO", style="bold red")
