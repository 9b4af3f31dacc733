"""Schedule: for each stage the list of its actions; `needs`: what each of them waits for.

The one place that says what depends on what. Validator, simulator and engines all ask here.
"""

from dataclasses import dataclass
from functools import cached_property

from gru_parallel.schedule.action import Action, Op, partner


@dataclass(frozen=True)
class Schedule:
    """What every stage does in one step, in order.

    Attributes:
        name: the schedule's name in the registry.
        n_stages: number of stages.
        n_micro_batches: number of slices of the batch.
        n_chunks: number of slices of time.
        actions: one tuple of actions a stage, in the order in which that stage runs them.
        one_at_a_time: whether a cell enters the pipeline only when the one before has left it.
    """

    name: str
    n_stages: int
    n_micro_batches: int
    n_chunks: int
    actions: tuple[tuple[Action, ...], ...]
    one_at_a_time: bool = False

    @cached_property
    def has_backward(self) -> bool:
        """Whether this trains; a schedule without B evaluates or predicts."""
        return any(action.op is Op.B for stage in self.actions for action in stage)

    @cached_property
    def is_lowered(self) -> bool:
        """Whether the sends and receives are in (one stage alone never has any)."""
        return any(not action.op.is_compute for stage in self.actions for action in stage)

    def __str__(self) -> str:
        return (
            f"{self.name}: n_stages={self.n_stages}, n_micro_batches={self.n_micro_batches}, "
            f"n_chunks={self.n_chunks}"
        )


def needs(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """List what must be finished before an action may start.

    With s the stage, m the micro-batch, c the chunk, S the number of stages:

        F(s,m,c)       F(s-1,m,c), and F(s,m,c-1) for h
        B(s,m,c)       F(s,m,c), B(s+1,m,c), and B(s,m,c+1) for dL/dh
        W(s,m,c)       B(s,m,c)
        SEND_F, SEND_B the F, the B, of the same stage and cell
        RECV_F, RECV_B the partner's send

    One cell at a time adds that a cell enters (F on stage 0, B on stage S-1) only when the cell
    before it has left (F on stage S-1, B on stage 0). In a lowered schedule, whatever comes from
    another stage comes through the receive on this one.

    Args:
        action: an action of `schedule`.
        schedule: the schedule, lowered or not.

    Returns:
        The actions to wait for, each once; those that stand before `action` in the list of its
        own stage included.
    """
    if action.op.is_receive:
        return (partner(action, schedule.n_stages),)
    if action.op.is_send:
        computed = Op.F if action.op is Op.SEND_F else Op.B
        return (Action(action.stage, computed, *action.cell),)

    needed = _compute_needs(action, schedule)
    if schedule.one_at_a_time:
        needed += _cell_before(action, schedule)
    if schedule.is_lowered:
        needed = tuple(_as_seen_from(action.stage, other) for other in needed)
    return tuple(dict.fromkeys(needed))


def _compute_needs(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """What the mathematics asks for: the first three rows of the table of `needs`."""
    s, m, c = action.stage, action.micro_batch, action.chunk
    last_stage, last_chunk = schedule.n_stages - 1, schedule.n_chunks - 1
    needed: list[Action] = []
    match action.op:
        case Op.F:
            if s > 0:
                needed.append(Action(s - 1, Op.F, m, c))
            if c > 0:
                needed.append(Action(s, Op.F, m, c - 1))
        case Op.B:
            needed.append(Action(s, Op.F, m, c))
            if s < last_stage:
                needed.append(Action(s + 1, Op.B, m, c))
            if c < last_chunk:
                needed.append(Action(s, Op.B, m, c + 1))
        case Op.W:
            needed.append(Action(s, Op.B, m, c))
    return tuple(needed)


def _cell_before(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """The action with which the cell before this one leaves the pipeline, if `action` enters it."""
    s, m, c = action.stage, action.micro_batch, action.chunk
    last_stage, last_chunk = schedule.n_stages - 1, schedule.n_chunks - 1
    if action.op is Op.F and s == 0:
        if c > 0:
            return (Action(last_stage, Op.F, m, c - 1),)
        if m > 0 and schedule.has_backward:
            return (Action(0, Op.B, m - 1, 0),)
        if m > 0:
            return (Action(last_stage, Op.F, m - 1, last_chunk),)
    if action.op is Op.B and s == last_stage and c < last_chunk:
        return (Action(0, Op.B, m, c + 1),)
    return ()


def _as_seen_from(stage: int, other: Action) -> Action:
    """The receive on `stage` through which the result of another stage comes; its own stay."""
    if other.stage == stage:
        return other
    return Action(stage, Op.RECV_F if other.op is Op.F else Op.RECV_B, *other.cell)
