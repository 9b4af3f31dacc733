"""TransferShapes foretells what stages transfer: compared with what the threads engine does."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch

from gru_parallel.engine.channel import HandOver
from gru_parallel.engine.stages import modules_of_stages
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.model import Windows
from gru_parallel.schedule import Action, partner
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.transfer_shapes import TransferShapes, types_out
from tests.builders import MSE, TOLERANCE, build_model, make_plan
from tests.processes.process_cases import FOUR_STAGES, LONG, ONE_PIPELINE, SEED, Case

CASES = ONE_PIPELINE | FOUR_STAGES
CPU = torch.device("cpu")

HandOvers = list[tuple[Action, HandOver | None]]


@contextmanager
def hand_overs() -> Iterator[HandOvers]:
    """Note each SEND and what goes with it."""
    seen: HandOvers = []
    send = QueueChannel.send

    def noted(channel: QueueChannel, action: Action, packets: HandOver | None) -> None:
        seen.append((action, packets))
        send(channel, action, packets)

    with patch.object(QueueChannel, "send", noted):
        yield seen


def shapes_of(case: Case) -> TransferShapes:
    model = case.build_model()
    rows = model.rows_of(Windows(**case.batch(0)))
    modules = modules_of_stages(model, case.plan)
    sizes = *rows.x.shape[:2], *case.grid
    cells = Cells.cut(*sizes, rows.lengths, model.head.n_decoding)
    with case.precision():
        return TransferShapes(modules, cells, types_out(modules[0], CPU), CPU)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in CASES],
)
def test_room_is_made_for_what_comes_and_for_nothing_else(name: str) -> None:
    case = CASES[name]
    shapes = shapes_of(case)
    engine = ThreadEngine(case.build_model(), case.plan, MSE, seed=SEED)
    with engine, case.precision(), hand_overs() as seen:
        engine.train_step(Windows(**case.batch(0)))

    assert len(seen) > 0
    for sent, packets in seen:
        received = partner(sent, case.plan.n_stages)
        assert shapes.carries_tensor(sent) == shapes.carries_tensor(received)
        assert shapes.carries_tensor(received) == (packets is not None), received
        if packets is None:
            continue
        tensor, state = packets
        room, room_for_state = shapes.room(received)
        assert (room.shape, room.dtype) == (tensor.tensor.shape, tensor.tensor.dtype), received
        at_sender = shapes.room_for_state(sent)
        assert (at_sender is None) == (room_for_state is None) == (state is None), received
        if state is not None and room_for_state is not None:
            assert room_for_state.shape == state.tensor.shape, received
            assert room_for_state.dtype == state.tensor.dtype, received


def test_cells_without_a_row_take_no_room() -> None:
    shapes = shapes_of(Case(grid=(1, 7), lengths=(3, 2, 1, 1, 3)))

    rooms = [shapes.room(Action.parse(f"1RECV_F0.{chunk}"))[0] for chunk in range(7)]
    assert [room.numel() for room in rooms] == [5 * 8, 3 * 8, 2 * 8, 0, 0, 0, 0]


def test_weights_elsewhere_are_not_read() -> None:
    case = Case((1, 1, 2))
    shapes = shapes_of(case)
    model = case.build_model()
    for block in model.gru.gru_blocks[1:]:
        block.to("meta")
    modules = modules_of_stages(model, case.plan)
    x = case.batch(0)["x"]
    cells = Cells.cut(x.shape[0], x.shape[1], *case.grid)
    of_this_rank = TransferShapes(modules, cells, types_out(modules[0], CPU), CPU)

    action = Action.parse("2RECV_F1.2")
    assert of_this_rank.room(action)[0].shape == shapes.room(action)[0].shape
    assert not of_this_rank.room(action)[0].is_meta


@pytest.mark.parametrize("dtype", [*TOLERANCE, torch.float16], ids=str)
def test_what_is_handed_over_has_the_type_of_the_computation(dtype: torch.dtype) -> None:
    stage = modules_of_stages(build_model(dtype=dtype), make_plan([4]))[0]

    assert types_out(stage, CPU) == dtype
    with torch.autocast("cpu", torch.bfloat16):
        # Autocast leaves float64 as it is.
        assert types_out(stage, CPU) == (dtype if dtype == torch.float64 else torch.bfloat16)
