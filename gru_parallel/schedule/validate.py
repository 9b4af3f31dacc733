"""Check a schedule before it runs: a wrong one would hang, or train on wrong gradients."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise, product

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action, Cell, Op, partner
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.lower import lower
from gru_parallel.schedule.schedule import Schedule
from gru_parallel.schedule.walk import walk


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
    for stage, index, action in _positions(schedule):
        if action.stage != stage:
            raise _error(
                schedule,
                f"a stage runs only its actions, but {action} is in the list of stage {stage}",
                (stage, index),
            )


def _check_complete(schedule: Schedule) -> None:
    expected = Counter(_expected_actions(schedule))
    seen: Counter[Action] = Counter()
    for stage, index, action in _positions(schedule):
        seen[action] += 1
        if action not in expected:
            rule = f"{action} does not belong to this schedule (no such cell or neighbour)"
            raise _error(schedule, rule, (stage, index))
        if seen[action] > 1:
            rule = f"every action runs exactly once, but {action} comes again"
            raise _error(schedule, rule, (stage, index))
    for missing in expected - seen:
        raise _missing(schedule, missing)


def _expected_actions(schedule: Schedule) -> Iterator[Action]:
    """F, B and W, if there are any, on every stage and cell, and what `lower` adds."""
    present = {action.op for _, _, action in _positions(schedule)}
    ops = [op for op in (Op.F, Op.B, Op.W) if op in present] or [Op.F]
    cells = list(product(range(schedule.n_micro_batches), range(schedule.n_chunks)))
    computed = replace(
        schedule,
        actions=tuple(
            tuple(Action(stage, op, Cell(*cell)) for op, cell in product(ops, cells))
            for stage in range(schedule.n_stages)
        ),
    )
    expected = lower(computed) if schedule.is_lowered else computed
    return (action for _, _, action in _positions(expected))


def _check_backward_order(schedule: Schedule) -> None:
    in_another_order = {
        Op.B: "gives wrong gradients",
        Op.W: "adds up to other bits on another placement",
    }
    for op, what_happens in in_another_order.items():
        for earlier, later, at in _neighbours(schedule, op):
            if _backward_position(later, schedule) < _backward_position(earlier, schedule):
                rule = (
                    f"{op} runs micro-batches in ascending and chunks in descending order (another"
                    f" order {what_happens}), but {later} comes after {earlier}"
                )
                raise _error(schedule, rule, at)


def _backward_position(action: Action, schedule: Schedule) -> tuple[int, int, int]:
    return action.micro_batch, schedule.segments.of(action.chunk), -action.chunk


def _check_forward_order(schedule: Schedule) -> None:
    for stage in range(schedule.n_stages):
        last_chunk = [-1] * schedule.n_micro_batches
        for index, action in enumerate(schedule.actions[stage]):
            if action.op is not Op.F:
                continue
            if action.chunk < last_chunk[action.micro_batch]:
                rule = (
                    "F runs the chunks of a micro-batch in ascending order (h flows forward), but "
                    f"{action} comes after chunk {last_chunk[action.micro_batch]}"
                )
                raise _error(schedule, rule, (stage, index))
            last_chunk[action.micro_batch] = action.chunk


def _check_transfer_order(schedule: Schedule) -> None:
    """Channels are first in, first out, so both sides must agree on the order."""
    for stage, op in product(range(schedule.n_stages), (Op.SEND_F, Op.SEND_B)):
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


def _positions(schedule: Schedule) -> Iterator[tuple[int, int, Action]]:
    """Every action with the stage of its list, and its index there."""
    for stage, actions in enumerate(schedule.actions):
        for index, action in enumerate(actions):
            yield stage, index, action


def _neighbours(schedule: Schedule, op: Op) -> Iterable[tuple[Action, Action, tuple[int, int]]]:
    """Each two consecutive actions of one op on a stage, and where the later one is."""
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
