"""Inline: one stage in the caller's own thread, with the caller's intra-op threads."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from gru_parallel.engine.context import CallerContext, apart_from_checkpoints
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.schedule import Schedule, Timeline
from gru_parallel.stage.stage_pass import StagePass


class Inline:
    """Does what `Workers` do, for a single stage, without a thread."""

    def run(
        self, passes: Sequence[StagePass], lowered: Schedule, *, gradients: bool, wait: bool = False
    ) -> Timeline:
        """Run the stage's list; see `Workers.run`."""
        (stage_pass,) = passes
        lane = stage_pass.stage.lane
        context = CallerContext.capture({lane.device})
        interpreter = Interpreter(stage_pass, QueueChannel(1), [lane.device], wait=wait)
        with (
            context.taken_over(gradients=gradients),
            apart_from_checkpoints(),
            lane.step(context.streams),
        ):
            events = interpreter.run(lowered.actions[0], perf_counter())
        return Timeline(1, tuple(events))
