"""Schedule: for each stage the list of its actions; `needs`: what each of them waits for.

The only statement of what depends on what, for validator, simulator and engines.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise

from gru_parallel.schedule.action import COMPUTE, Action, Cell, Op, backwards, forwards, partner
from gru_parallel.schedule.alive import most_alive
from gru_parallel.schedule.segments import Segments, segments_of

NOWHERE = -1
"""The place of an action that is in no list."""

Key = tuple[int, Op, tuple[int, int]]
"""An action or, because it is much quicker to make, a plain tuple that is equal to it."""


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
    def ops(self) -> frozenset[Op]:
        """The ops that occur."""
        return frozenset({action.op for stage in self.actions for action in stage})

    @cached_property
    def has_forward(self) -> bool:
        """Whether this runs F; a schedule without F continues one of F alone."""
        return Op.F in self.ops

    @cached_property
    def separates_weights(self) -> bool:
        """Whether the weights' gradient is an action of its own, W; otherwise it is part of B."""
        return Op.W in self.ops

    @cached_property
    def is_lowered(self) -> bool:
        """Whether it has sends and receives (one stage alone never has any)."""
        return not self.ops <= COMPUTE

    @cached_property
    def all_actions(self) -> tuple[Action, ...]:
        """The lists of all stages, one after another; an action's place is its index in here."""
        return tuple(chain.from_iterable(self.actions))

    @cached_property
    def waits(self) -> tuple[tuple[int, ...], ...]:
        """For each of `all_actions`, the places of what it waits for when its turn comes.

        That is what it `needs`, without what stands before it in the list of its stage.
        """
        return _waits(self)

    @cached_property
    def peak_cells(self) -> tuple[tuple[int, int], ...]:
        """For each stage, the cells that it keeps at once, and of these those that wait for W.

        That is at the most, and whatever the actions take.
        """
        computed = ([a for a in stage if a.op in COMPUTE] for stage in self.actions)
        has_w = self.separates_weights
        return tuple((most_alive(a), most_alive(a, Op.B) if has_w else 0) for a in computed)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """One order in which all that can happen does, places in `all_actions`; see `walk`."""
        return _order(self)

    @cached_property
    def _computed_before(self) -> dict[Key, Action]:
        """The action of F, B or W before each other one on the same stage."""
        computed = ([a for a in stage if a.op.is_compute] for stage in self.actions)
        return {later: earlier for stage in computed for earlier, later in pairwise(stage)}

    def computed_before(self, action: Key) -> Action | None:
        """The action of F, B or W before `action` on its stage; None if there is none."""
        return self._computed_before.get(action)

    @cached_property
    def segments(self) -> Segments:
        """The segments of chunks within which dL/dh flows."""
        return segments_of(self.n_chunks, self.truncate)

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


def _giver(computed: Key, schedule: Schedule) -> Key:
    """The action after which the result of `computed` can be sent."""
    stage, op, (micro_batch, _) = computed
    if stage not in schedule.barriers:
        return computed
    return stage, op, (micro_batch, schedule.n_chunks - 1 if op is Op.F else 0)


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
    needed = dict.fromkeys(_needs(action, schedule))
    return tuple(Action(stage, op, Cell(*cell)) for stage, op, cell in needed)


def _waits(schedule: Schedule) -> tuple[tuple[int, ...], ...]:
    place_of: dict[Key, int] = {a: place for place, a in enumerate(schedule.all_actions)}
    waits: list[tuple[int, ...]] = []
    for actions in schedule.actions:
        first = len(waits)
        for place, action in enumerate(actions, first):
            needed: tuple[int, ...] = ()
            for key in _needs(action, schedule):
                at = place_of.get(key, NOWHERE)
                if not first <= at < place:
                    needed += (at,)
            waits.append(needed)
    return tuple(waits)


def _order(schedule: Schedule) -> tuple[int, ...]:
    waits = schedule.waits
    ends = list(accumulate(map(len, schedule.actions)))
    next_places = [0, *ends[:-1]]
    # The last entry is that of NOWHERE, which is never done.
    is_done = bytearray(len(waits) + 1)
    order: list[int] = []
    n_done_before = -1
    while len(order) > n_done_before:
        n_done_before = len(order)
        for stage, end in enumerate(ends):
            place = next_places[stage]
            while place < end and all(map(is_done.__getitem__, waits[place])):
                is_done[place] = True
                order.append(place)
                place += 1
            next_places[stage] = place
    return tuple(order)


def _needs(action: Action, schedule: Schedule) -> list[Key]:
    """What `needs` lists; some of it may come twice."""
    if action.op in COMPUTE:
        needed = _compute_needs(action, schedule)
        if schedule.one_at_a_time:
            needed += _cell_before(action, schedule)
        return needed
    if action.op.is_receive:
        return [partner(action, schedule.n_stages)]
    computed = Op.F if action.op is Op.SEND_F else Op.B
    return [_giver((action.stage, computed, action.cell), schedule)]


def _compute_needs(action: Action, schedule: Schedule) -> list[Key]:
    """The mathematical dependencies: the first three rows of the table of `needs`."""
    s, op, cell = action
    m, c = cell
    needed: list[Key] = []
    match op:
        case Op.F:
            if s > 0:
                needed.append(_from_neighbour(action, s - 1, schedule))
            if c > 0:
                needed.append((s, op, (m, c - 1)))
        case Op.B:
            if schedule.has_forward:
                needed.append((s, Op.F, cell))
            if s < schedule.n_stages - 1:
                needed.append(_from_neighbour(action, s + 1, schedule))
            if c + 1 < schedule.n_chunks and c + 1 not in schedule.segments.first_chunks:
                needed.append((s, op, (m, c + 1)))
        case Op.W:
            needed.append((s, Op.B, cell))
    return needed


def _from_neighbour(action: Action, neighbour: int, schedule: Schedule) -> Key:
    """The action with which the neighbour's result for the cell of `action` comes."""
    if schedule.is_lowered:
        return _receive(action.stage, action)
    return _giver((neighbour, action.op, action.cell), schedule)


def _cell_before(action: Action, schedule: Schedule) -> list[Key]:
    """The action with which the cell before this one leaves the pipeline, if `action` enters it.

    With a barrier, no chunk of a micro-batch can leave before its last has entered, so all chunks
    of a micro-batch count as one cell.
    """
    last_stage = schedule.n_stages - 1
    before = schedule.computed_before(action)
    if before is None or action.stage != (0 if action.op is Op.F else last_stage):
        return []
    is_same = before.op is action.op and before.micro_batch == action.micro_batch
    if schedule.barriers and is_same:
        return []
    left = before._replace(stage=last_stage if before.op is Op.F else 0)
    if schedule.is_lowered and left.stage != action.stage:
        return [_receive(action.stage, left)]
    return [left]


def _receive(stage: int, other: Action) -> Key:
    """The receive on `stage` of the result of another stage's F or B."""
    return stage, Op.RECV_F if other.op is Op.F else Op.RECV_B, other.cell
