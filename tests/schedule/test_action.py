import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action, Cell, Op, backwards, forwards, partner

numbers = st.integers(min_value=0, max_value=1000)
actions = st.builds(Action, numbers, st.sampled_from(Op), st.builds(Cell, numbers, numbers))


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Action(1, Op.F, Cell(0, 3)), "1F0.3"),
        (Action(0, Op.SEND_F, Cell(2, 1)), "0SEND_F2.1"),
        (Action(12, Op.RECV_B, Cell(10, 0)), "12RECV_B10.0"),
    ],
)
def test_an_action_prints_as_stage_op_micro_batch_chunk(action: Action, text: str) -> None:
    assert str(action) == text


@settings(deadline=None)
@given(actions)
def test_every_action_reads_back_from_its_text(action: Action) -> None:
    assert Action.parse(str(action)) == action


@pytest.mark.parametrize(
    "text", ["", "F0.0", "1F0", "1X0.0", "1f0.0", "-1F0.0", "1F0.0 ", "1F0.0.0", "1SEND0.0"]
)
def test_a_text_that_is_no_action_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ScheduleError, match=r"is not an action.*1F0\.3"):
        Action.parse(text)


def test_the_cell_is_micro_batch_and_chunk() -> None:
    assert Action(1, Op.F, Cell(2, 3)).cell == (2, 3)


def test_every_op_is_one_of_compute_send_and_receive() -> None:
    kinds = {op: (op.is_compute, op.is_send, op.is_receive) for op in Op}
    assert all(sum(kind) == 1 for kind in kinds.values())
    assert [op for op in Op if op.is_compute] == [Op.F, Op.B, Op.W]
    assert [op for op in Op if op.is_send] == [Op.SEND_F, Op.SEND_B]


@pytest.mark.parametrize(
    ("end", "other_end"),
    [
        ("0SEND_F2.1", "1RECV_F2.1"),
        ("2SEND_B2.1", "1RECV_B2.1"),
        ("2SEND_F2.1", "0RECV_F2.1"),  # the ring, closed from the last stage to the first
        ("0SEND_B2.1", "2RECV_B2.1"),
    ],
)
def test_sends_and_receives_are_partners_of_each_other(end: str, other_end: str) -> None:
    assert str(partner(Action.parse(end), n_stages=3)) == other_end
    assert str(partner(Action.parse(other_end), n_stages=3)) == end


@pytest.mark.parametrize("text", ["0F0.0", "0B0.0", "0W0.0"])
def test_an_action_that_hands_nothing_over_has_no_partner(text: str) -> None:
    with pytest.raises(ScheduleError, match="has no partner"):
        partner(Action.parse(text), n_stages=2)


def test_chunks_ascend_forward_and_descend_backward() -> None:
    assert " ".join(map(str, forwards(1, 4, n_chunks=3))) == "1F4.0 1F4.1 1F4.2"
    assert " ".join(map(str, backwards(1, 4, n_chunks=3))) == "1B4.2 1B4.1 1B4.0"


@settings(deadline=None)
@given(actions)
def test_an_action_is_found_by_the_plain_tuple_that_it_is_equal_to(action: Action) -> None:
    cell = (action.micro_batch, action.chunk)
    assert {action: "found"}[action.stage, action.op, cell] == "found"
