"""Check a schedule before it runs: a wrong one would hang, or train on wrong gradients."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise, product, starmap

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action, Cell, Op, partner
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.lower import lower
from gru_parallel.schedule.schedule import Schedule
from gru_parallel.schedule.walk import walk

Work = tuple[Op, Cell]
"""What an action does, whichever stage does it."""


def validate(schedule: Schedule) -> None:
    """Check that a schedule is complete, in order, and free of deadlock.

    Args:
        schedule: of F, B and W, or of F only; lowered or not.

    Raises:
        ScheduleError: a rule is broken. The message names it and the action, and shows the grid
            with that action marked.
    """
    _check_stages(schedule)
    _check_complete(schedule)
    _check_backward_order(schedule)
    _check_forward_order(schedule)
    _check_transfer_order(schedule)
    walk(schedule)


def _check_stages(schedule: Schedule) -> None:
    if len(schedule.actions) != schedule.n_stages:
        raise ScheduleError(
            f"{schedule}: every stage needs a list of actions, but there are "
            f"{len(schedule.actions)}."
        )
    for stage, actions in enumerate(schedule.actions):
        for index, action in enumerate(actions):
            if action.stage != stage:
                raise _error(
                    schedule,
                    f"a stage runs only its actions, but {action} is in the list of stage {stage}",
                    (stage, index),
                )


def _check_complete(schedule: Schedule) -> None:
    for stage, expected in enumerate(_expected(schedule)):
        works = [action[1:] for action in schedule.actions[stage]]
        if len(works) != len(expected) or set(works) != expected.keys():
            raise _incomplete(schedule, stage, expected)


def _expected(schedule: Schedule) -> list[dict[Work, None]]:
    """For each stage F, B and W, if there are any, on every cell, and what `lower` adds."""
    ops = [op for op in (Op.F, Op.B, Op.W) if op in schedule.ops] or [Op.F]
    grid = product(range(schedule.n_micro_batches), range(schedule.n_chunks))
    computed: dict[Work, None] = dict.fromkeys(product(ops, starmap(Cell, grid)))
    if not schedule.is_lowered:
        return [computed] * schedule.n_stages
    lists = tuple(
        tuple(Action(stage, *work) for work in computed) for stage in range(schedule.n_stages)
    )
    lowered = lower(replace(schedule, actions=lists))
    return [dict.fromkeys(action[1:] for action in actions) for actions in lowered.actions]


def _incomplete(schedule: Schedule, stage: int, expected: dict[Work, None]) -> ScheduleError:
    seen: set[Work] = set()
    for index, action in enumerate(schedule.actions[stage]):
        work = action[1:]
        if work not in expected:
            rule = f"{action} does not belong to this schedule (no such cell or neighbour)"
            return _error(schedule, rule, (stage, index))
        if work in seen:
            rule = f"every action runs exactly once, but {action} comes again"
            return _error(schedule, rule, (stage, index))
        seen.add(work)
    return _missing(schedule, Action(stage, *next(work for work in expected if work not in seen)))


def _check_backward_order(schedule: Schedule) -> None:
    grid = product(range(schedule.n_micro_batches), schedule.segments.backward_order)
    rank = {cell: rank for rank, cell in enumerate(starmap(Cell, grid))}
    in_another_order = {
        Op.B: "gives wrong gradients",
        Op.W: "adds up to other bits on another placement",
    }
    for op, what_happens in in_another_order.items():
        for earlier, later, at in _neighbours(schedule, op):
            if rank[later.cell] < rank[earlier.cell]:
                rule = (
                    f"{op} runs micro-batches in ascending and chunks in descending order (another"
                    f" order {what_happens}), but {later} comes after {earlier}"
                )
                raise _error(schedule, rule, at)


def _check_forward_order(schedule: Schedule) -> None:
    for stage, actions in enumerate(schedule.actions):
        last_chunk = [-1] * schedule.n_micro_batches
        for index, (_, op, (micro_batch, chunk)) in enumerate(actions):
            if op is not Op.F:
                continue
            if chunk < last_chunk[micro_batch]:
                rule = (
                    "F runs the chunks of a micro-batch in ascending order (h flows forward), but "
                    f"{actions[index]} comes after chunk {last_chunk[micro_batch]}"
                )
                raise _error(schedule, rule, (stage, index))
            last_chunk[micro_batch] = chunk


def _check_transfer_order(schedule: Schedule) -> None:
    """Channels are first in, first out, so both sides must agree on the order."""
    ops = [op for op in (Op.SEND_F, Op.SEND_B) if op in schedule.ops]
    for stage, op in product(range(schedule.n_stages), ops):
        sent = [action for action in schedule.actions[stage] if action.op is op]
        if not sent:
            continue
        receive = partner(sent[0], schedule.n_stages)
        received = [
            (index, action)
            for index, action in enumerate(schedule.actions[receive.stage])
            if action.op is receive.op
        ]
        for send, (index, action) in zip(sent, received, strict=True):
            if send.cell != action.cell:
                rule = (
                    "sends and receives of two neighbours come in one order, but "
                    f"{action} meets {send}"
                )
                raise _error(schedule, rule, (receive.stage, index))


def _neighbours(schedule: Schedule, op: Op) -> Iterable[tuple[Action, Action, tuple[int, int]]]:
    """Each two consecutive actions of one op on a stage, and where the later one is."""
    if op not in schedule.ops:
        return
    for stage, actions in enumerate(schedule.actions):
        of_op = [(index, action) for index, action in enumerate(actions) if action.op is op]
        for (_, earlier), (index, later) in pairwise(of_op):
            yield earlier, later, (stage, index)


def _missing(schedule: Schedule, missing: Action) -> ScheduleError:
    """The error for a missing action; the grid shows it at the end of its stage's list."""
    rows = [list(actions) for actions in schedule.actions]
    rows[missing.stage].append(missing)
    return _error(
        replace(schedule, actions=tuple(map(tuple, rows))),
        f"every action runs exactly once, but {missing} is missing",
        (missing.stage, len(rows[missing.stage]) - 1),
    )


def _error(schedule: Schedule, rule: str, marked: tuple[int, int]) -> ScheduleError:
    return ScheduleError(f"{schedule}: {rule}.\n{draw_lists(schedule.actions, {marked})}")
