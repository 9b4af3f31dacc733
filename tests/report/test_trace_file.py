"""The trace file, read back as a viewer would."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gru_parallel.report.trace_file import read_trace, write_trace
from gru_parallel.schedule import Action, Cell, Event, Op, Timeline

Simulated = Callable[..., Timeline]


def read(path: Path) -> list[dict[str, Any]]:
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert trace["displayTimeUnit"] == "ms"
    events: list[dict[str, Any]] = trace["traceEvents"]
    return events


@pytest.mark.parametrize(("name", "first_ms"), [("gpipe", 0.0), ("zero_bubble", 1_234.5)])
def test_the_trace_read_back_is_the_timeline(
    tmp_path: Path, simulated: Simulated, name: str, first_ms: float
) -> None:
    timeline = simulated(3, 2, 4, lowered=True, name=name)
    later = tuple(
        Event(event.action, event.start_ms + first_ms, event.end_ms + first_ms)
        for event in timeline.events
    )
    path = tmp_path / "trace.json"
    write_trace({"a step": Timeline(3, later)}, path, ["cpu:0", "cpu:1", "cpu:2"])

    read_back = read_trace(path)["a step"]

    assert read_back.n_stages == 3
    assert set(read_back.events) == set(timeline.events)
    assert len(read_back.events) == len(timeline.events)


def test_each_timeline_is_a_process_from_its_own_start_on(tmp_path: Path) -> None:
    later = (Event(Action(0, Op.F, Cell(0, 0)), 7.0, 8.5),)
    path = tmp_path / "trace.json"
    write_trace({"measured": Timeline(1, later), "predicted": Timeline(1, ())}, path, ["cpu:0"])

    names = {e["pid"]: e["args"]["name"] for e in read(path) if e["name"] == "process_name"}
    assert names == {1: "measured", 2: "predicted"}
    steps = read_trace(path)
    assert steps["measured"].events == (Event(Action(0, Op.F, Cell(0, 0)), 0.0, 1.5),)
    assert steps["predicted"] == Timeline(1, ())


def test_an_event_has_thread_category_and_cell(tmp_path: Path) -> None:
    events = (
        Event(Action(0, Op.F, Cell(2, 5)), 3.0, 4.5),
        Event(Action(0, Op.SEND_F, Cell(2, 5)), 4.5, 4.6),
        Event(Action(1, Op.RECV_F, Cell(2, 5)), 3.0, 4.6),
    )
    write_trace({"a step": Timeline(2, events)}, tmp_path / "trace.json", ["cuda:0", "cuda:1"])
    by_name = {entry["name"]: entry for entry in read(tmp_path / "trace.json")}

    assert by_name["0F2.5"] == {
        "name": "0F2.5",
        "ph": "X",
        "cat": "F",
        "pid": 1,
        "tid": 1,
        "ts": 0.0,
        "dur": 1500.0,
        "args": {"micro_batch": 2, "chunk": 5},
    }
    assert by_name["0SEND_F2.5"]["cat"] == "SEND_F"
    assert by_name["1RECV_F2.5"]["tid"] == 2


def test_each_stage_is_a_thread_with_a_name_in_its_order(tmp_path: Path) -> None:
    only_stage_1 = (Event(Action(1, Op.F, Cell(0, 0)), 0.0, 1.0),)
    write_trace({"a step": Timeline(2, only_stage_1)}, tmp_path / "trace.json", ["cuda:0", "cpu:1"])
    entries = [entry for entry in read(tmp_path / "trace.json") if entry["ph"] == "M"]

    def of(what: str) -> dict[int, dict[str, object]]:
        return {entry["tid"]: entry["args"] for entry in entries if entry["name"] == what}

    assert of("thread_name") == {1: {"name": "stage 0 (cuda:0)"}, 2: {"name": "stage 1 (cpu:1)"}}
    assert of("thread_sort_index") == {1: {"sort_index": 0}, 2: {"sort_index": 1}}


def test_events_that_touch_do_not_overlap_after_rounding(tmp_path: Path) -> None:
    ends_ms = [0.1 * number + 1e-7 * number**2 for number in range(1, 200)]
    starts_ms = [0.0, *ends_ms[:-1]]
    events = tuple(
        Event(Action(0, Op.F, Cell(0, chunk)), start_ms, end_ms)
        for chunk, (start_ms, end_ms) in enumerate(zip(starts_ms, ends_ms, strict=True))
    )
    write_trace({"a step": Timeline(1, events)}, tmp_path / "trace.json", ["cpu:0"])
    complete = [entry for entry in read(tmp_path / "trace.json") if entry["ph"] == "X"]

    for before, after in pairwise(complete):
        ends_ns = round(before["ts"] * 1e3) + round(before["dur"] * 1e3)
        assert ends_ns == round(after["ts"] * 1e3)


def test_a_timeline_without_events_gives_a_trace_with_names_only(tmp_path: Path) -> None:
    write_trace({"a step": Timeline(1, ())}, tmp_path / "trace.json", ["cpu:0"])

    assert {entry["ph"] for entry in read(tmp_path / "trace.json")} == {"M"}


def test_one_device_name_is_needed_for_each_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 device names for 2 stages"):
        write_trace({"a step": Timeline(2, ())}, tmp_path / "trace.json", ["cpu:0"])
    assert not (tmp_path / "trace.json").exists()


@pytest.mark.parametrize("name", ["one_f_one_b", "zero_bubble"])
def test_an_arrow_leads_from_the_giver_of_each_result_to_its_taker(
    tmp_path: Path, simulated: Simulated, name: str
) -> None:
    timelines = {
        "measured": simulated(3, 2, 4, lowered=True, name=name),
        "predicted": simulated(3, 2, 4, name=name),
    }
    write_trace(timelines, tmp_path / "trace.json", ["cpu:0", "cpu:1", "cpu:2"])
    entries = read(tmp_path / "trace.json")

    begins = {entry["id"]: entry for entry in entries if entry["ph"] == "s"}
    ends = {entry["id"]: entry for entry in entries if entry["ph"] == "f"}
    # Two boundaries, 8 cells, both ways, in both timelines; each with a number of its own.
    assert len(begins) == sum(entry["ph"] == "s" for entry in entries) == 2 * 8 * 2 * 2
    assert begins.keys() == ends.keys()
    for number, begin in begins.items():
        end = ends[number]
        assert begin["ts"] < end["ts"]
        assert (begin["name"], begin["cat"], begin["pid"]) == (end["name"], end["cat"], end["pid"])
        assert end["bp"] == "e"
        giver, taker = (Action.parse(slice_at(entries, flow)["name"]) for flow in (begin, end))
        assert giver.op is taker.op
        assert giver.cell == taker.cell
        assert taker.stage - giver.stage == (1 if giver.op is Op.F else -1)


def test_an_arrow_stands_behind_the_slices_that_it_is_bound_to(
    tmp_path: Path, simulated: Simulated
) -> None:
    write_trace({"a step": simulated(2, 1, 2)}, tmp_path / "trace.json", ["cpu:0", "cpu:1"])

    phases = [entry["ph"] for entry in read(tmp_path / "trace.json")]
    assert max(i for i, phase in enumerate(phases) if phase == "X") < phases.index("s")


def test_clocks_that_differ_by_more_than_an_action_leave_out_the_arrow(tmp_path: Path) -> None:
    events = (
        Event(Action(0, Op.F, Cell(0, 0)), 3.0, 4.0),
        Event(Action(1, Op.F, Cell(0, 0)), 2.9, 3.5),
        Event(Action(0, Op.F, Cell(0, 1)), 4.0, 5.0),
        Event(Action(1, Op.F, Cell(0, 1)), 4.5, 5.5),
    )
    write_trace({"a step": Timeline(2, events)}, tmp_path / "trace.json", ["cpu:0", "cpu:1"])

    flows = [e for e in read(tmp_path / "trace.json") if e["ph"] in ("s", "f")]
    # From 2.9 ms on, in microseconds.
    assert [(e["ph"], e["tid"], e["ts"]) for e in flows] == [("s", 1, 1600.0), ("f", 2, 1600.0)]


def slice_at(entries: list[dict[str, Any]], flow: dict[str, Any]) -> dict[str, Any]:
    """Return the slice that is open on a flow event's thread at its time."""
    of_thread = [
        entry
        for entry in entries
        if entry["ph"] == "X" and (entry["pid"], entry["tid"]) == (flow["pid"], flow["tid"])
    ]
    ts = flow["ts"]
    (found,) = (e for e in of_thread if e["ts"] <= ts < e["ts"] + e["dur"] and "_" not in e["name"])
    return found
