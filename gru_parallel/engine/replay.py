"""Replay: a call of which every stage replays all that it does, as one list of what to call.

What follows what, and where each result goes, is the same for every batch: it is worked out once,
and from then on one thread goes through a list without knowing what any of it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gru_parallel.engine.channel import Aborted
from gru_parallel.engine.interpreter import name_place
from gru_parallel.schedule import Action, Op, Schedule, partner, turns
from gru_parallel.stage.recorded_pass import RecordedPass
from gru_parallel.stage.stage import Stage

Call = Callable[[], object]


@dataclass(frozen=True)
class BoundCalls:
    """What one thread calls to have all stages replay their lists; see `bind`.

    Attributes:
        calls: in their order.
        actions: for each call, what it is a part of.
        stages: by index.
    """

    calls: Sequence[Call]
    actions: Sequence[Action]
    stages: dict[int, Stage]


def bind(
    passes: Sequence[RecordedPass], lowered: Schedule, devices: Sequence[torch.device]
) -> BoundCalls:
    """List what is to be called to replay what was recorded, as often as there are batches.

    Args:
        passes: of all stages.
        lowered: what each stage does, sends and receives included.
        devices: of every stage in order.
    """
    pairs: list[tuple[Action, Call]] = []
    waits: dict[Action, list[Call]] = {}
    of_stages = {each.stage.index: each for each in passes}
    not_begun = set(of_stages)
    for stage, actions in turns(lowered):
        here = of_stages[stage]
        if len(passes) > 1:
            pairs.append((actions[0], here.stage.lane.select))
        if stage in not_begun:
            not_begun.remove(stage)
            pairs.append((actions[0], here.copy_in))
        for action in actions:
            if action.op.is_compute:
                calls = here.calls(action.op, action.cell)
            elif action.op.is_send:
                received = partner(action, len(devices))
                lane, target = of_stages[received.stage].stage.lane, devices[received.stage]
                computed = Op.F if action.op is Op.SEND_F else Op.B
                moves = [
                    here.stage.lane.move(result, target, room)
                    for result, room in here.handed_over(computed, action.cell)
                ]
                calls = [move for move, _ in moves]
                waits[received] = [lane.wait(there) for _, there in moves if there is not None]
            else:
                calls = waits.pop(action)
            pairs += [(action, call) for call in calls]
    return BoundCalls(
        [call for _, call in pairs],
        [action for action, _ in pairs],
        {index: each.stage for index, each in of_stages.items()},
    )


class Replay:
    """One replay of what was recorded, in the thread that runs it; any other may stop it.

    Args:
        bound_calls: what is to be called.
    """

    def __init__(self, bound_calls: BoundCalls) -> None:
        self._bound = bound_calls
        self._at = 0
        self._is_aborted = False

    def run(self) -> None:
        """Call all of it.

        Raises:
            Aborted: `abort` was called.
            Exception: what a call raised, with a note that names stage, device, action and cell.
        """
        try:
            # A step is hundreds of calls. What one is a part of is looked up where somebody asks.
            for at, call in enumerate(self._bound.calls):
                self._at = at
                if self._is_aborted:
                    raise Aborted
                call()
        except Aborted:
            raise
        except BaseException as error:
            action = self._bound.actions[self._at]
            name_place(error, self._bound.stages[action.stage], action)
            raise

    def abort(self, error: BaseException | None = None) -> None:
        """Have it stop before its next call; see `Channel`."""
        del error
        self._is_aborted = True

    @property
    def running(self) -> dict[int, Action]:
        """What each stage does now or next, by its index; without those that are done."""
        return {action.stage: action for action in reversed(self._bound.actions[self._at :])}
