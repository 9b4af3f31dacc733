"""Timelines as a trace file, which Perfetto and chrome://tracing open, and back.

Each timeline is a process, and each of its stages a thread.

Format: Chrome's Trace Event Format, its JSON object form.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gru_parallel.report.stage_names import stage_names
from gru_parallel.schedule import Action, Event, Timeline


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
    for process, (name, timeline) in enumerate(timelines.items()):
        start_ms = min((event.start_ms for event in timeline.events), default=0.0)
        of_process = [_name("process_name", 0, name)]
        for stage, stage_name in enumerate(stage_names(timeline.n_stages, device_names)):
            of_process.append(_name("thread_name", stage, stage_name))
            of_process.append(_entry("thread_sort_index", "M", stage, {"sort_index": stage}))
            of_process += [_complete(event, start_ms) for event in timeline.stage_events(stage)]
        entries += [entry | {"pid": process} for entry in of_process]
    trace = {"displayTimeUnit": "ms", "traceEvents": entries}
    Path(path).write_text(json.dumps(trace, allow_nan=False), encoding="utf-8")


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
    # Rounded to ns as the viewers do, so that no event ends after the next has begun.
    start_ns = round((event.start_ms - origin_ms) * 1e6)
    end_ns = round((event.end_ms - origin_ms) * 1e6)
    cell = {"micro_batch": action.micro_batch, "chunk": action.chunk}
    return _entry(str(action), "X", action.stage, cell) | {
        "cat": str(action.op),
        "ts": start_ns / 1e3,
        "dur": (end_ns - start_ns) / 1e3,
    }


def _name(what: str, thread: int, name: str) -> dict[str, object]:
    return _entry(what, "M", thread, {"name": name})


def _entry(name: str, phase: str, thread: int, args: Mapping[str, object]) -> dict[str, object]:
    return {"name": name, "ph": phase, "tid": thread, "args": args}
