"""The vocabulary of schedules: one action is one thing that a stage does on one cell.

Knows nothing of orders: which actions there are is up to a schedule (gpipe.py, ...), and what an
action waits for is stated once, by `needs` in schedule.py.
"""

import re
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from gru_parallel.errors import ScheduleError


class Op(StrEnum):
    """What a stage can do with a cell; the value is how it prints."""

    F = "F"  # forward
    B = "B"  # backward towards the inputs
    W = "W"  # the weights' gradient, where a schedule separates it from B
    SEND_F = "SEND_F"  # send the output of F to the next stage
    RECV_F = "RECV_F"  # receive the output of F from the stage before
    SEND_B = "SEND_B"  # send dL/dx, the result of B, to the stage before
    RECV_B = "RECV_B"  # receive dL/dx from the next stage

    @property
    def is_compute(self) -> bool:
        """Whether the stage computes (F, B, W); otherwise it sends or receives."""
        return self in COMPUTE

    @property
    def is_send(self) -> bool:
        """Whether this sends a result to another stage."""
        return self in (Op.SEND_F, Op.SEND_B)

    @property
    def is_receive(self) -> bool:
        """Whether this receives a result from another stage."""
        return self in (Op.RECV_F, Op.RECV_B)


COMPUTE = frozenset({Op.F, Op.B, Op.W})
"""The ops with which a stage computes; with all others it sends or receives."""


class Cell(NamedTuple):
    """One (micro-batch, chunk) of the grid."""

    micro_batch: int
    chunk: int

    def __str__(self) -> str:
        return f"({self.micro_batch}, {self.chunk})"


_TEXT_FORM = re.compile(rf"([0-9]+)({'|'.join(Op)})([0-9]+)\.([0-9]+)")


class Action(NamedTuple):
    """One op of one stage on one cell; prints as `1F0.3`, which `parse` reads."""

    stage: int
    op: Op
    cell: Cell

    @property
    def micro_batch(self) -> int:
        """The micro-batch of the cell."""
        return self.cell.micro_batch

    @property
    def chunk(self) -> int:
        """The chunk of the cell."""
        return self.cell.chunk

    def __str__(self) -> str:
        return f"{self.stage}{self.op}{self.micro_batch}.{self.chunk}"

    @classmethod
    def parse(cls, text: str) -> "Action":
        """Read the text form back.

        Args:
            text: stage, op, micro-batch, a full stop, chunk: `1F0.3`, `0SEND_F2.1`.

        Returns:
            The action that prints as `text`.

        Raises:
            ScheduleError: `text` is not such a form.
        """
        match = _TEXT_FORM.fullmatch(text)
        if match is None:
            raise ScheduleError(
                f"{text!r} is not an action; write stage, op, micro-batch.chunk, as in 1F0.3, "
                f"with op one of {', '.join(Op)}."
            )
        stage, op, micro_batch, chunk = match.groups()
        return cls(int(stage), Op(op), Cell(int(micro_batch), int(chunk)))


@cache
def partner(action: Action, n_stages: int) -> Action:
    """Return the other end of a transfer: the receive of a send, the send of a receive.

    Stages form a ring, so that a schedule that runs one cell at a time can tell the first stage
    that a cell has left the last one.

    Args:
        action: a SEND_F, RECV_F, SEND_B or RECV_B.
        n_stages: number of stages in the ring.

    Returns:
        The action of the neighbour, on the same cell.

    Raises:
        ScheduleError: `action` is not a transfer.
    """
    match action.op:
        case Op.SEND_F:
            op, step = Op.RECV_F, 1
        case Op.RECV_F:
            op, step = Op.SEND_F, -1
        case Op.SEND_B:
            op, step = Op.RECV_B, -1
        case Op.RECV_B:
            op, step = Op.SEND_B, 1
        case _:
            raise ScheduleError(f"{action} transfers nothing, so it has no partner.")
    return Action((action.stage + step) % n_stages, op, action.cell)


@cache
def activity(action: Action, name: str, n_stages: int) -> str:
    """Say what a stage did, as in `stage 1 on cpu:1 ran F of micro-batch 0, chunk 3`.

    Args:
        action: what it did.
        name: of its device.
        n_stages: of the pipeline.
    """
    stage = f"stage {action.stage} on {name}"
    cell = f"micro-batch {action.micro_batch}, chunk {action.chunk}"
    if action.op.is_compute:
        return f"{stage} ran {action.op} of {cell}"
    other = partner(action, n_stages).stage
    what = "activations" if action.op in (Op.SEND_F, Op.RECV_F) else "gradients"
    if action.op.is_receive:
        return f"{stage} waited for the {what} of stage {other}, {cell}"
    return f"{stage} sent stage {other} the {what} of {cell}"


def forwards(stage: int, micro_batch: int, n_chunks: int) -> tuple[Action, ...]:
    """List the F of one micro-batch on one stage: h flows forward, so chunks ascend."""
    return tuple([Action(stage, Op.F, cell) for cell in _cells(micro_batch, n_chunks)])


def backwards(stage: int, micro_batch: int, n_chunks: int) -> tuple[Action, ...]:
    """List the B of one micro-batch on one stage: dL/dh flows back, so chunks descend."""
    return tuple([Action(stage, Op.B, cell) for cell in reversed(_cells(micro_batch, n_chunks))])


@cache
def _cells(micro_batch: int, n_chunks: int) -> tuple[Cell, ...]:
    """The cells of a micro-batch, which all stages share."""
    return tuple(Cell(micro_batch, chunk) for chunk in range(n_chunks))
