import torch

from gru_parallel.stage.shelf import AT_ONCE, Shelf


def test_what_is_kept_of_several_calls_lies_side_by_side_and_is_a_copy() -> None:
    shelf = Shelf()
    given = [[torch.full((2, 3), float(n)), torch.full((4,), -float(n))] for n in range(AT_ONCE)]

    kept = [shelf.keep(each) for each in given]
    given[0][0].zero_()

    pieces = [piece for each in kept for piece in each]
    assert len({piece.untyped_storage().data_ptr() for piece in pieces}) == 1
    assert all(torch.equal(kept[n][0], torch.full((2, 3), float(n))) for n in range(AT_ONCE))
    assert all(torch.equal(kept[n][1], torch.full((4,), -float(n))) for n in range(AT_ONCE))


def test_other_types_and_larger_tensors_get_memory_of_their_own() -> None:
    shelf = Shelf()
    (small,) = shelf.keep([torch.ones(2)])
    (other,) = shelf.keep([torch.ones(2, dtype=torch.float64)])
    (large,) = shelf.keep([torch.ones(100, dtype=torch.float64)])

    assert len({each.untyped_storage().data_ptr() for each in (small, other, large)}) == 3
    assert (other.dtype, large.shape) == (torch.float64, (100,))


def test_nothing_is_kept_of_nothing() -> None:
    shelf = Shelf()

    assert shelf.keep([]) == []
    (empty,) = shelf.keep([torch.empty(0, 0, 5)])
    assert empty.shape == (0, 0, 5)


def test_each_piece_begins_where_memory_of_its_own_would() -> None:
    shelf = Shelf()

    kept = [piece for _ in range(3) for piece in shelf.keep([torch.ones(3, 5), torch.ones(7)])]

    # Otherwise a cell that is run again has other last bits.
    assert len({piece.data_ptr() % 64 for piece in kept}) == 1
