"""Timelines as a trace file, which Perfetto and chrome://tracing open, and back.

Each timeline is a process, and each of its stages a thread, both numbered from 1 on: viewers take 0
for a machine's idle process or thread. Arrows lead from the F or B that gives a cell's result to
that of the next stage which takes it.

Format: Chrome's Trace Event Format, its JSON object form.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from gru_parallel.report.stage_names import stage_names
from gru_parallel.schedule import Action, Event, Op, Timeline
from gru_parallel.whole_file import write_text

_HAND_OVER = "hand-over"


def write_trace(
    timelines: Mapping[str, Timeline], path: Path | str, device_names: Sequence[str]
) -> None:
    """Write all events of timelines, sends and receives included.

    Args:
        timelines: what ran when, by name, as in {"measured step": ...}.
        path: the JSON file to write.
        device_names: the device of each stage, the same in all timelines.

    Raises:
        ValueError: there is not one device name for each stage.
    """
    entries = []
    numbers = count()
    for process, (name, timeline) in enumerate(timelines.items(), start=1):
        start_ms = min((event.start_ms for event in timeline.events), default=0.0)
        of_process = [_name("process_name", 0, name)]
        for stage, stage_name in enumerate(stage_names(timeline.n_stages, device_names)):
            of_process.append(_name("thread_name", stage, stage_name))
            of_process.append(_entry("thread_sort_index", "M", stage, {"sort_index": stage}))
            of_process += [_complete(event, start_ms) for event in timeline.stage_events(stage)]
        # Behind all slices: a viewer binds an arrow to a slice that it has read.
        of_process += _arrows(timeline, start_ms, numbers)
        entries += [entry | {"pid": process} for entry in of_process]
    trace = {"displayTimeUnit": "ms", "traceEvents": entries}
    write_text(json.dumps(trace, allow_nan=False), path)


def read_trace(path: Path | str) -> dict[str, Timeline]:
    """Read the timelines that `write_trace` wrote: times rounded to ns, from the first start on."""
    entries = json.loads(Path(path).read_text(encoding="utf-8"))["traceEvents"]
    timelines = {}
    for process in (entry for entry in entries if entry["name"] == "process_name"):
        of_process = [entry for entry in entries if entry["pid"] == process["pid"]]
        n_stages = sum(entry["name"] == "thread_name" for entry in of_process)
        events = tuple(_event(entry) for entry in of_process if entry["ph"] == "X")
        timelines[process["args"]["name"]] = Timeline(n_stages, events)
    return timelines


def _event(entry: Mapping[str, Any]) -> Event:
    start_ns, duration_ns = round(entry["ts"] * 1e3), round(entry["dur"] * 1e3)
    return Event(Action.parse(entry["name"]), start_ns / 1e6, (start_ns + duration_ns) / 1e6)


def _complete(event: Event, origin_ms: float) -> dict[str, object]:
    """A complete event ("X"): its name, its start and how long it took, in microseconds."""
    action = event.action
    start_ns, end_ns = _span_ns(event, origin_ms)
    cell = {"micro_batch": action.micro_batch, "chunk": action.chunk}
    return _entry(str(action), "X", action.stage, cell) | {
        "cat": str(action.op),
        "ts": start_ns / 1e3,
        "dur": (end_ns - start_ns) / 1e3,
    }


def _arrows(
    timeline: Timeline, origin_ms: float, numbers: Iterator[int]
) -> Iterator[dict[str, object]]:
    """Flow events, a pair ("s" and "f") with a number of its own for each hand-over."""
    spans_ns = {event.action: _span_ns(event, origin_ms) for event in timeline.events}
    for giver, (start_ns, end_ns) in spans_ns.items():
        taker = _taker(giver)
        if taker is None or taker not in spans_ns:
            continue
        taken_ns, _ = spans_ns[taker]
        # Within the slice, so as to be bound to it: at its end the next one may begin.
        given_ns = max(start_ns, min(end_ns - 1, taken_ns))
        if given_ns > taken_ns:
            # The clocks of two machines differ: an arrow must not end before it begins.
            continue
        flow: dict[str, object] = {"cat": _HAND_OVER, "id": next(numbers)}
        yield _entry(_HAND_OVER, "s", giver.stage, {}) | flow | {"ts": given_ns / 1e3}
        yield _entry(_HAND_OVER, "f", taker.stage, {}) | flow | {"ts": taken_ns / 1e3, "bp": "e"}


def _taker(giver: Action) -> Action | None:
    """What takes the result of an F or B: that of a neighbour, on the same cell."""
    if giver.op not in (Op.F, Op.B):
        return None
    return Action(giver.stage + (1 if giver.op is Op.F else -1), giver.op, giver.cell)


def _span_ns(event: Event, origin_ms: float) -> tuple[int, int]:
    """Start and end, rounded to ns as viewers do, so that no event ends after the next begins."""
    return round((event.start_ms - origin_ms) * 1e6), round((event.end_ms - origin_ms) * 1e6)


def _name(what: str, stage: int, name: str) -> dict[str, object]:
    return _entry(what, "M", stage, {"name": name})


def _entry(name: str, phase: str, stage: int, args: Mapping[str, object]) -> dict[str, object]:
    return {"name": name, "ph": phase, "tid": stage + 1, "args": args}
