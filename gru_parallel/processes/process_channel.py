"""ProcessChannel: how a tensor goes from stage to stage where each has its own process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch.distributed as dist
from torch import Tensor

from gru_parallel.engine.channel import Aborted, HandOver
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.errors import ScheduleError
from gru_parallel.processes.outbox import Outbox
from gru_parallel.processes.peer_groups import PeerGroups
from gru_parallel.ranks import Ranks
from gru_parallel.schedule import Action, Op, Schedule, activity
from gru_parallel.stage.lane import Packet
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.transfer_shapes import TransferShapes

N_AHEAD = 2
"""Receives that are posted before their turn, in each direction, with Gloo.

With NCCL, where the host never waits in a receive, none is posted ahead. On the GPU, a receive that
waits for what is only sent after later work of this rank may block that work: CUDA loads a kernel
at its first use, and may wait for all running ones to end before it does.
"""


@dataclass(frozen=True)
class Arriving:
    """A receive that has been posted.

    Attributes:
        action: its RECV.
        packets: the tensors that it fills; None where it is only a signal.
        works: to wait for.
    """

    action: Action
    packets: tuple[Tensor, Tensor | None] | None
    works: list[dist.Work]


class ProcessChannel:
    """Transfers tensors between the stages of this rank and those of other ranks, for one step.

    Sends never wait. Receives are posted ahead in the order of the stage's list: what comes, and in
    which shape, is known from the schedule, the batch and the plan. Two stages of this rank are
    connected by a queue.

    Args:
        ranks: of the run.
        peers: groups with the other ranks of the replica.
        shapes: what each transfer carries.
        lowered: what each stage does.
        stages: those of this rank.
        outbox: keeps tensors until they are sent.
    """

    def __init__(
        self,
        ranks: Ranks,
        peers: PeerGroups,
        shapes: TransferShapes,
        lowered: Schedule,
        stages: Sequence[Stage],
        outbox: Outbox,
    ) -> None:
        self._ranks = ranks
        self._peers = peers
        self._shapes = shapes
        self._outbox = outbox
        self._n_ahead = N_AHEAD if peers.backend == "gloo" else 0
        self._names = {stage.index: stage.name for stage in stages}
        self._n_stages = lowered.n_stages
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
        """Record what the stage does, for the other ranks; see `Channel`."""
        self._local.begin(action)
        self._ranks.record(self._describe(action))

    def send(self, action: Action, packets: HandOver | None) -> None:
        """Start sending; see `Channel`."""
        peer = self._peers.find(action)
        if peer is None:
            self._local.send(action, packets)
            return
        group, rank = peer
        with self._talking(action):
            for tensor in self._tensors(action, packets):
                if tensor.numel() > 0:
                    work = dist.isend(tensor, rank, group=group)
                    assert work is not None
                    self._outbox.keep(work, tensor)

    def receive(self, action: Action) -> HandOver | None:
        """Wait for the tensors; see `Channel`."""
        if self._peers.find(action) is None:
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
        """Wait for another rank inside the context; errors after an abort are its consequences."""
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
            peer = self._peers.find(coming)
            assert peer is not None
            group, rank = peer
            carries = self._shapes.carries_tensor(coming)
            packets = self._shapes.room(coming) if carries else None
            room = [self._shapes.token()] if packets is None else packets
            works = [
                work
                for tensor in room
                if tensor is not None and tensor.numel() > 0
                if (work := dist.irecv(tensor, rank, group=group)) is not None
            ]
            self._arriving[key].append(Arriving(coming, packets, works))

    def _tensors(self, action: Action, packets: HandOver | None) -> list[Tensor]:
        """List the tensors of a SEND, as the receiver expects them."""
        if packets is None:
            return [self._shapes.token()]
        tensor, state = packets
        room = self._shapes.room_for_state(action)
        tensors = [tensor.tensor.contiguous()]
        if room is not None:
            # The receiver expects zeros where a state has no gradient.
            tensors.append(room if state is None else state.tensor.contiguous())
        return tensors

    def _describe(self, action: Action) -> str:
        return activity(action, self._names[action.stage], self._n_stages)
