"""Measures one case, in the process that calls."""

from __future__ import annotations

import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.cases import Case, Way
from benchmarks.gpu.clock import Clock, make_clock, timed_steps
from benchmarks.gpu.numbers import Reading
from benchmarks.gpu.steps import n_warm_up
from benchmarks.gpu.subjects import LoneStage, Subject, check_replayed, make_subject
from gru_parallel.engine.torch_device import torch_device

LAUNCHING = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")
"""How the names of the runtime's functions begin that give a GPU something to do."""


def measure(case: Case, devices: Sequence[str], seconds: float) -> Reading | str:
    """Measure a case on GPUs, or on logical CPU devices.

    Args:
        case: what to run.
        devices: names of those that it may use; of ranks, this one uses that with its number.
        seconds: how long to measure steps.

    Returns:
        What was read, or in words why there is nothing.
    """
    own = devices[: case.n_gpus]
    clocked = [own[int(os.environ["RANK"])]] if case.way is Way.PEER else own
    clock = make_clock([torch_device(name) for name in clocked])
    try:
        clock.clear()
        reading = _measure(case, own, clock, seconds)
        # Another process may need the memory; that of a case that failed goes with its process.
        clock.clear()
        return reading
    except torch.OutOfMemoryError:
        return "out of memory"
    except Exception as error:  # noqa: BLE001  # the other cases have to be measured all the same
        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _measure(case: Case, devices: Sequence[str], clock: Clock, seconds: float) -> Reading:
    subject = make_subject(case, devices)
    try:
        for _ in range(n_warm_up(case.way)):
            subject.step()
        clock.wait()
        if case.way is not Way.EAGER:
            check_replayed(subject.engine)
        if case.way is Way.LAUNCHES:
            return Reading(launches=count_launches(subject.step, clock))
        return _read(subject, clock, seconds)
    finally:
        subject.close()


def _read(subject: Subject, clock: Clock, seconds: float) -> Reading:
    steps = timed_steps(clock, subject.step, seconds, subject.meet)
    peak_bytes, held_bytes = clock.peak_bytes(), clock.held_bytes()
    cells_ms = subject.cells_ms(clock.wait) if isinstance(subject, LoneStage) else ()
    return Reading(
        steps_ms=tuple(step_ms for step_ms, _ in steps),
        queue_ms=tuple(queue_ms for _, queue_ms in steps),
        peak_bytes=peak_bytes,
        held_bytes=held_bytes,
        cells_ms=cells_ms,
    )


def count_launches(step: Callable[[], object], clock: Clock) -> dict[str, int]:
    """Count what a step asks of the CUDA runtime, in whichever thread.

    Raises:
        RuntimeError: nothing was counted.
    """
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        step()
        clock.wait()
    events = profiler.events() or ()
    counted = dict(Counter(event.name for event in events if event.name.startswith(LAUNCHING)))
    if not counted:
        raise RuntimeError("the profiler saw no launches; CUPTI needs permission in a container")
    return counted
