"""The timeline as a trace file, which Perfetto and chrome://tracing open: a thread a stage.

Format: Chrome's Trace Event Format, its JSON object form.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from gru_parallel.report.stage_names import stage_names
from gru_parallel.schedule import Event, Timeline

_PROCESS = 0


def write_trace(timeline: Timeline, path: Path | str, device_names: Sequence[str]) -> None:
    """Write all events of a timeline, sends and receives included.

    Args:
        timeline: what ran when.
        path: the JSON file to write.
        device_names: the device of each stage.

    Raises:
        ValueError: there is not one device name for each stage.
    """
    names = stage_names(timeline.n_stages, device_names)
    start_ms = min((event.start_ms for event in timeline.events), default=0.0)
    entries = [_name("process_name", 0, "one step")]
    for stage, name in enumerate(names):
        entries.append(_name("thread_name", stage, name))
        entries.append(_entry("thread_sort_index", "M", stage, {"sort_index": stage}))
        entries += [_complete(event, start_ms) for event in timeline.stage_events(stage)]
    trace = {"displayTimeUnit": "ms", "traceEvents": entries}
    Path(path).write_text(json.dumps(trace, allow_nan=False), encoding="utf-8")


def _complete(event: Event, origin_ms: float) -> dict[str, object]:
    """A complete event ("X"): its name, its start and how long it took, in microseconds."""
    action = event.action
    # Rounded to ns as the viewers do, so that an event never ends after the next has begun.
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
    return {"name": name, "ph": phase, "pid": _PROCESS, "tid": thread, "args": args}
