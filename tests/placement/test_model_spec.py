import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import BlockSpec, cut_stack


def test_a_stack_is_cut_into_blocks_of_which_the_last_takes_what_is_left() -> None:
    assert cut_stack(3, 4, num_layers=5, layers_per_block=2) == (
        BlockSpec(range(2), 3, 4, bidirectional=False, h_0="given"),
        BlockSpec(range(2, 4), 4, 4, bidirectional=False, h_0="given"),
        BlockSpec(range(4, 5), 4, 4, bidirectional=False, h_0="given"),
    )


def test_two_directions_give_out_twice_the_width_and_twice_the_states() -> None:
    first, last = cut_stack(3, 4, 3, 2, bidirectional=[True, False], h_0=["zeros", "carry"])

    assert (first.input_size, first.output_size, first.n_states) == (3, 8, 4)
    assert (last.input_size, last.output_size, last.n_states) == (8, 4, 1)
    assert (first.h_0, last.h_0) == ("zeros", "carry")


def test_other_than_one_answer_per_block_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model.bidirectional=\[True,False\] has 2 entries, but"):
        cut_stack(3, 4, 3, bidirectional=[True, False])
    with pytest.raises(UsageError, match=r"model.h_0=\[zeros\] has 1 entries, but the model has 3"):
        cut_stack(3, 4, 3, h_0=["zeros"])


def test_a_state_is_handed_over_between_blocks_of_as_many_states_only() -> None:
    with pytest.raises(UsageError, match="block 0 has no block before it"):
        cut_stack(3, 4, 2, h_0="previous")
    with pytest.raises(UsageError, match="block 1 has 1 states, the block before it 2"):
        cut_stack(3, 4, 3, 2, h_0=["zeros", "previous"])
