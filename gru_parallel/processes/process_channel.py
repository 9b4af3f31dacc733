"""ProcessChannel: how a tensor goes from stage to stage where each has a process of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch.distributed as dist
from torch import Tensor

from gru_parallel.engine.channel import Aborted, Packets, QueueChannel
from gru_parallel.errors import ScheduleError
from gru_parallel.processes.crossing import Crossing
from gru_parallel.processes.links import Links
from gru_parallel.processes.outbox import Outbox
from gru_parallel.ranks import Ranks
from gru_parallel.schedule import Action, Op, Schedule
from gru_parallel.stage.lane import Packet
from gru_parallel.stage.stage import Stage

N_AHEAD = 2
"""Receives that are under way before their turn, in each direction; with Gloo.

With NCCL the host never waits in a receive, so there it has none ahead of the list. One that waits
on the GPU for what can only be sent after later work of this rank may hold that work up: CUDA loads
a kernel at its first use, and may wait for all others to end before it does.
"""


@dataclass(frozen=True)
class Arriving:
    """A receive that is under way.

    Attributes:
        action: the RECV that will take it.
        packets: the room that it fills; None where only the order matters.
        works: to wait for.
    """

    action: Action
    packets: tuple[Tensor, Tensor | None] | None
    works: list[dist.Work]


class ProcessChannel:
    """Carries what the stages of a rank hand over to stages of other ranks, for one step.

    Sends never wait. Receives are posted ahead in the order of the stage's list: what comes, and in
    which shape, is known from the schedule, the batch and the plan. Between two stages of this rank
    a queue does.

    Args:
        ranks: of the run.
        links: to the other ranks of the replica.
        crossing: what each hand-over carries.
        lowered: what each stage does.
        stages: those of this rank.
        outbox: where sent tensors stay until they are gone.
    """

    def __init__(
        self,
        ranks: Ranks,
        links: Links,
        crossing: Crossing,
        lowered: Schedule,
        stages: Sequence[Stage],
        outbox: Outbox,
    ) -> None:
        self._ranks = ranks
        self._links = links
        self._crossing = crossing
        self._outbox = outbox
        self._n_ahead = N_AHEAD if links.backend == "gloo" else 0
        self._names = {stage.index: stage.name for stage in stages}
        self._local = QueueChannel(lowered.n_stages)
        self._is_aborted = False
        self._to_post: dict[tuple[Op, int], Iterator[Action]] = {
            (op, stage.index): iter([a for a in lowered.actions[stage.index] if a.op is op])
            for stage in stages
            for op in (Op.RECV_F, Op.RECV_B)
        }
        self._arriving: dict[tuple[Op, int], deque[Arriving]] = {
            key: deque() for key in self._to_post
        }

    def begin(self, action: Action) -> None:
        """Note what the stage does, for the other ranks; see `Channel`."""
        self._local.begin(action)
        self._ranks.record(self._describe(action))

    def send(self, action: Action, packets: Packets | None) -> None:
        """Start sending; see `Channel`."""
        link = self._links.find(action)
        if link is None:
            self._local.send(action, packets)
            return
        group, rank = link
        with self._talking(action):
            for tensor in self._tensors(action, packets):
                if tensor.numel() > 0:
                    work = dist.isend(tensor, rank, group=group)
                    assert work is not None
                    self._outbox.keep(work, tensor)

    def receive(self, action: Action) -> Packets | None:
        """Wait for the tensors; see `Channel`."""
        if self._links.find(action) is None:
            return self._local.receive(action)
        queue = self._arriving[action.op, action.stage]
        with self._talking(action):
            self._post(action, 1 + self._n_ahead - len(queue))
            arriving = queue.popleft()
            for work in arriving.works:
                work.wait()
        if arriving.action != action:
            raise ScheduleError(f"{action} came where {arriving.action} was to be received.")
        if arriving.packets is None:
            return None
        tensor, state = arriving.packets
        return Packet(tensor), None if state is None else Packet(state)

    def abort(self, error: BaseException | None = None) -> None:
        """Wake the other stages of this rank, and end the other ranks; see `Channel`."""
        if self._is_aborted:
            return
        self._is_aborted = True
        self._local.abort()
        self._ranks.fail(error or KeyboardInterrupt())

    @contextmanager
    def _talking(self, action: Action) -> Iterator[None]:
        """Wait for another rank inside; what goes wrong after an abort is its consequence."""
        try:
            with self._ranks.waiting(self._describe(action)):
                yield
        except Exception:
            if self._is_aborted:
                raise Aborted from None
            raise

    def _post(self, action: Action, n_more: int) -> None:
        """Start the next receives of a stage and direction."""
        key = action.op, action.stage
        for coming in islice(self._to_post[key], max(0, n_more)):
            link = self._links.find(coming)
            assert link is not None
            group, rank = link
            carries = self._crossing.carries_tensor(coming)
            packets = self._crossing.room(coming) if carries else None
            room = [self._crossing.token()] if packets is None else packets
            works = [
                work
                for tensor in room
                if tensor is not None and tensor.numel() > 0
                if (work := dist.irecv(tensor, rank, group=group)) is not None
            ]
            self._arriving[key].append(Arriving(coming, packets, works))

    def _tensors(self, action: Action, packets: Packets | None) -> list[Tensor]:
        """List what a SEND puts on its way, as the receiver expects it."""
        if packets is None:
            return [self._crossing.token()]
        tensor, state = packets
        room = self._crossing.room_for_state(action)
        tensors = [tensor.tensor.contiguous()]
        if room is not None:
            # No gradient of a state is, to the receiver, one of zeros.
            tensors.append(room if state is None else state.tensor.contiguous())
        return tensors

    def _describe(self, action: Action) -> str:
        return f"stage {action.stage} on {self._names[action.stage]} ran {action}"
