"""Schedule: for each stage the list of its actions; `needs`: what each of them waits for.

The only statement of what depends on what, for validator, simulator and engines.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from gru_parallel.schedule.action import Action, Cell, Op, backwards, forwards, partner
from gru_parallel.schedule.segments import Segments


@dataclass(frozen=True)
class Schedule:
    """What every stage does in one step, in order.

    Attributes:
        name: the schedule's name in the registry.
        n_stages: number of stages.
        n_micro_batches: number of slices of the batch.
        n_chunks: number of slices of time.
        actions: one tuple of actions per stage, in the order in which that stage runs them.
        one_at_a_time: whether a cell enters the pipeline only when the one before has left it.
        truncate: number of chunks of a segment; dL/dh does not flow from one segment into the one
            before. None lets it flow through the whole window.
        barriers: the stages that hold a barrier in time, which receive all chunks of a micro-batch
            before they send the first, forward and backward.
    """

    name: str
    n_stages: int
    n_micro_batches: int
    n_chunks: int
    actions: tuple[tuple[Action, ...], ...]
    one_at_a_time: bool = False
    truncate: int | None = None
    barriers: frozenset[int] = frozenset()

    @cached_property
    def has_forward(self) -> bool:
        """Whether this runs F; a schedule without F continues one of F alone."""
        return any(action.op is Op.F for stage in self.actions for action in stage)

    @cached_property
    def separates_weights(self) -> bool:
        """Whether the weights' gradient is an action of its own, W; otherwise it is part of B."""
        return any(action.op is Op.W for stage in self.actions for action in stage)

    @cached_property
    def is_lowered(self) -> bool:
        """Whether it has sends and receives (one stage alone never has any)."""
        return any(not action.op.is_compute for stage in self.actions for action in stage)

    @cached_property
    def _computed_before(self) -> dict[Action, Action]:
        """The action of F, B or W before each other one on the same stage."""
        computed = ([a for a in stage if a.op.is_compute] for stage in self.actions)
        return {later: earlier for stage in computed for earlier, later in pairwise(stage)}

    def computed_before(self, action: Action) -> Action | None:
        """The action of F, B or W before `action` on its stage; None if there is none."""
        return self._computed_before.get(action)

    @property
    def segments(self) -> Segments:
        """The segments of chunks within which dL/dh flows."""
        return Segments(self.n_chunks, self.truncate)

    def __str__(self) -> str:
        cut = "" if self.truncate is None else f", truncate={self.truncate}"
        held = f", barriers={sorted(self.barriers)}" if self.barriers else ""
        return (
            f"{self.name}: n_stages={self.n_stages}, n_micro_batches={self.n_micro_batches}, "
            f"n_chunks={self.n_chunks}{cut}{held}"
        )


def gives_out(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """List the actions of F or B whose results a stage has to send once `action` is done.

    Args:
        action: an F or B of `schedule`.
        schedule: the schedule.

    Returns:
        `action` itself. On a stage with a barrier: none, or with the last one of the micro-batch
        those of all chunks, in the order of the op.
    """
    if action.stage not in schedule.barriers:
        return (action,)
    if action != _giver(action, schedule):
        return ()
    listed = forwards if action.op is Op.F else backwards
    return listed(action.stage, action.micro_batch, schedule.n_chunks)


def _giver(computed: Action, schedule: Schedule) -> Action:
    """The action after which the result of `computed` can be sent."""
    if computed.stage not in schedule.barriers:
        return computed
    chunk = schedule.n_chunks - 1 if computed.op is Op.F else 0
    return replace(computed, cell=Cell(computed.micro_batch, chunk))


def needs(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """List what must be done before an action may start.

    With s the stage, m the micro-batch, c the chunk, S the number of stages:

        F(s,m,c)       F(s-1,m,c), and F(s,m,c-1) for h
        B(s,m,c)       F(s,m,c), B(s+1,m,c), and B(s,m,c+1) for dL/dh, unless it is truncated there
        W(s,m,c)       B(s,m,c)
        SEND_F, SEND_B the F or B of the same stage and cell
        RECV_F, RECV_B the partner's send

    The results of a stage with a barrier come with its last action on the micro-batch: the F of
    the last chunk, the B of the first.

    With one cell at a time, a cell enters (F on stage 0, B on stage S-1) only when the cell
    before it has left (F on stage S-1, B on stage 0). In a lowered schedule, the results of another
    stage come with the receive on this one.

    Args:
        action: an action of `schedule`.
        schedule: the schedule, lowered or not.

    Returns:
        The actions to wait for, each once; those before `action` in the list of its stage
        included.
    """
    if action.op.is_receive:
        return (partner(action, schedule.n_stages),)
    if action.op.is_send:
        computed = Op.F if action.op is Op.SEND_F else Op.B
        return (_giver(Action(action.stage, computed, action.cell), schedule),)

    needed = _compute_needs(action, schedule)
    if schedule.one_at_a_time:
        needed += _cell_before(action, schedule)
    return tuple(dict.fromkeys(needed))


def _compute_needs(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """The mathematical dependencies: the first three rows of the table of `needs`."""
    s, m, c = action.stage, action.micro_batch, action.chunk
    last_stage = schedule.n_stages - 1
    needed: list[Action] = []
    match action.op:
        case Op.F:
            if s > 0:
                needed.append(_from_neighbour(action, s - 1, schedule))
            if c > 0:
                needed.append(Action(s, Op.F, Cell(m, c - 1)))
        case Op.B:
            if schedule.has_forward:
                needed.append(Action(s, Op.F, Cell(m, c)))
            if s < last_stage:
                needed.append(_from_neighbour(action, s + 1, schedule))
            if c < schedule.segments.last_of(c):
                needed.append(Action(s, Op.B, Cell(m, c + 1)))
        case Op.W:
            needed.append(Action(s, Op.B, Cell(m, c)))
    return tuple(needed)


def _from_neighbour(action: Action, neighbour: int, schedule: Schedule) -> Action:
    """The action with which the neighbour's result for the cell of `action` comes."""
    if schedule.is_lowered:
        return _receive(action.stage, action)
    return _giver(replace(action, stage=neighbour), schedule)


def _cell_before(action: Action, schedule: Schedule) -> tuple[Action, ...]:
    """The action with which the cell before this one leaves the pipeline, if `action` enters it.

    With a barrier, no chunk of a micro-batch can leave before its last has entered, so all chunks
    of a micro-batch count as one cell.
    """
    last_stage = schedule.n_stages - 1
    before = schedule.computed_before(action)
    if before is None or action.stage != (0 if action.op is Op.F else last_stage):
        return ()
    is_same = before.op is action.op and before.micro_batch == action.micro_batch
    if schedule.barriers and is_same:
        return ()
    left = replace(before, stage=last_stage if before.op is Op.F else 0)
    if schedule.is_lowered and left.stage != action.stage:
        return (_receive(action.stage, left),)
    return (left,)


def _receive(stage: int, other: Action) -> Action:
    """The receive on `stage` of the result of another stage's F or B."""
    return Action(stage, Op.RECV_F if other.op is Op.F else Op.RECV_B, other.cell)
