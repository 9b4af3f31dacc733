"""Inline: one stage in the caller's own thread, with the caller's intra-op threads."""

from __future__ import annotations

from time import perf_counter

from gru_parallel.engine.context import CallerContext, apart_from_checkpoints
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.passes import Passes
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.schedule import Schedule


class Inline:
    """Does what `Workers` do, for a single stage, without a thread."""

    def run(self, passes: Passes, lowered: Schedule, *, gradients: bool) -> None:
        """Run the stage's list; see `Workers.run`."""
        (stage_pass,) = passes
        lane = stage_pass.stage.lane
        devices = [lane.device]
        context = CallerContext.capture(devices)
        replay = passes.replay(lowered, devices)
        with (
            context.taken_over(gradients=gradients),
            apart_from_checkpoints(),
            lane.step(context.streams),
        ):
            if replay is not None:
                replay.run()
            else:
                interpreter = Interpreter(stage_pass, QueueChannel(1), devices, wait=False)
                interpreter.run(lowered.actions[0], perf_counter())
