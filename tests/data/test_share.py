from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gru_parallel.data import Batch, SeriesDataModule, Share, WindowDataset, tables_from_arrays
from gru_parallel.data.share import ALL_ROWS
from gru_parallel.errors import UsageError

N_CHANNELS, N_TARGETS = 3, 2
BATCH_SIZE = 5

KINDS: dict[str, dict[str, Any]] = {
    "shuffled": {"centre": "last"},
    "shuffled, short windows": {"centre": "last", "min_input_length": 1},
    "every step, short windows": {"task": "every_step", "min_input_length": 1},
    "streams": {"order": "streams", "stride": 2},
    "streams, short windows": {"order": "streams", "stride": 2, "min_input_length": 1},
}


def data(share: Share = ALL_ROWS, **options: Any) -> SeriesDataModule:
    """Two series, whose last batch is smaller in every part."""
    values = np.random.default_rng(0).normal(size=(120, N_CHANNELS))
    return SeriesDataModule(
        tables_from_arrays([values[:70], values[70:]], targets=["x2", "x0"]),
        share=share,
        **{
            "input_length": 6,
            "horizon": 2,
            "batch_size": BATCH_SIZE,
            "split": (0.6, 0.2, 0.2),
            "centre": "none",
            "seed": 3,
            **options,
        },
    )


def every(n_shares: int) -> list[Share]:
    return [Share(index, n_shares) for index in range(n_shares)]


def epochs_of(module: SeriesDataModule, n_epochs: int = 2) -> list[Batch]:
    loader = module.train_dataloader()
    batches = []
    for epoch in range(n_epochs):
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    return batches


def loaders_of(module: SeriesDataModule) -> list[DataLoader[Batch]]:
    return [
        module.train_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
        module.predict_dataloader(),
    ]


def put_together(shares: Iterable[Batch]) -> Batch:
    """One batch of the rows of all shares, as long as the longest of them that has rows."""
    filled = [share for share in shares if len(share["x"])]
    return {name: joined([share[name] for share in filled]) for name in filled[0]}


def joined(tensors: list[Tensor]) -> Tensor:
    if tensors[0].dim() < 3:
        return torch.cat(tensors)
    longest = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([torch.nn.functional.pad(t, (0, 0, 0, longest - t.shape[1])) for t in tensors])


def whole_batches(of_shares: list[list[Batch]]) -> Iterator[Batch]:
    return (put_together(shares) for shares in zip(*of_shares, strict=True))


def assert_same(batches: Iterable[Batch], expected: list[Batch]) -> None:
    for batch, other in zip(batches, expected, strict=True):
        assert set(batch) == set(other)
        for name, tensor in other.items():
            assert torch.equal(batch[name], tensor), name


@pytest.mark.parametrize(
    ("batch_size", "n_shares", "sizes"),
    [(4, 1, [4]), (4, 2, [2, 2]), (5, 2, [3, 2]), (8, 3, [3, 3, 2]), (3, 3, [1, 1, 1])],
)
def test_shares_follow_one_another_and_differ_by_one_row_at_most(
    batch_size: int, n_shares: int, sizes: list[int]
) -> None:
    rows = [range(batch_size)[share.rows(batch_size)] for share in every(n_shares)]
    assert [len(of_share) for of_share in rows] == sizes
    assert [row for of_share in rows for row in of_share] == list(range(batch_size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_shares", [2, 3, 5])
def test_the_shares_of_two_epochs_are_the_batches_of_one_device(kind: str, n_shares: int) -> None:
    shares = [epochs_of(data(share, **KINDS[kind])) for share in every(n_shares)]
    assert_same(whole_batches(shares), epochs_of(data(**KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_the_shares_of_an_evaluation_are_the_batches_of_one_device(kind: str, loader: str) -> None:
    shares = [list(getattr(data(share, **KINDS[kind]), loader)()) for share in every(3)]
    assert_same(whole_batches(shares), list(getattr(data(**KINDS[kind]), loader)()))


@pytest.mark.parametrize("kind", ["shuffled", "streams, short windows"])
def test_shares_fetched_in_another_process_are_the_same(kind: str) -> None:
    shares = [epochs_of(data(share, num_workers=1, **KINDS[kind])) for share in every(5)]
    assert_same(whole_batches(shares), epochs_of(data(**KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
def test_every_share_counts_the_batches_of_one_device(kind: str) -> None:
    n_batches = [len(loader) for loader in loaders_of(data(**KINDS[kind]))]
    for share in every(5):
        loaders = loaders_of(data(share, **KINDS[kind]))
        assert [len(loader) for loader in loaders] == n_batches
        assert [len(list(loader)) for loader in loaders] == n_batches


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_share_has_the_shapes_and_types_of_a_full_one(kind: str) -> None:
    module = data(Share(4, 5), **KINDS[kind])
    full, *_, empty = module.train_dataloader()
    shapes = {
        "x": (0, 6, N_CHANNELS),
        "y": (0, module.shape.n_target_steps, N_TARGETS),
        "anchor": (0, 1, N_TARGETS),
        "lengths": (0,),
        "reset": (0,),
        "index": (0,),
    }
    assert {name: tuple(tensor.shape) for name, tensor in empty.items()} == {
        name: shapes[name] for name in full
    }
    assert {name: t.dtype for name, t in empty.items()} == {n: t.dtype for n, t in full.items()}


def test_a_smaller_last_batch_leaves_every_row_where_it_was() -> None:
    shares = [data(share).val_dataloader() for share in every(2)]
    assert [[len(batch["x"]) for batch in loader] for loader in shares] == [
        [3, 3, 3, 3, 2],
        [2, 2, 2, 2, 0],
    ]


@pytest.mark.parametrize("n_shares", [2, 3])
def test_a_stream_stays_with_its_replica_until_it_ends(n_shares: int) -> None:
    options = KINDS["streams"]
    n_strides = 3
    for share in every(n_shares):
        before: list[int] = []
        for batch in epochs_of(data(share, **options)):
            index, reset = batch["index"].tolist(), batch["reset"].tolist()
            assert all(reset[len(before) :])
            for row, window in enumerate(index):
                assert reset[row] or window == before[row] + n_strides
            before = index


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_windows_of_the_share_are_cut(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n_cut = []
    cut = WindowDataset.__getitems__

    def count(windows: WindowDataset, indices: Any) -> Batch:
        n_cut.append(len(indices))
        return cut(windows, indices)

    monkeypatch.setattr(WindowDataset, "__getitems__", count)
    batches = list(data(Share(1, 3), **KINDS[kind]).train_dataloader())
    assert n_cut == [len(batch["x"]) for batch in batches]


def test_parts_and_baselines_are_those_of_one_device() -> None:
    whole, share = data(season_length=4), data(Share(1, 2), season_length=4)
    for part in ("training", "validation", "test"):
        assert len(share.dataset(part)) == len(whole.dataset(part))
        assert share.baselines(part) == whole.baselines(part)


def test_more_replicas_than_rows_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError) as caught:
        data(Share(0, 6))
    assert str(caught.value) == (
        "engine.data_parallel=6 exceeds data.batch_size=5, the rows of a batch that replicas "
        "share; use engine.data_parallel <= 5, or a larger batch."
    )


@pytest.mark.parametrize(("index", "n_shares"), [(-1, 2), (2, 2), (0, 0)])
def test_a_share_that_there_is_not_is_refused(index: int, n_shares: int) -> None:
    with pytest.raises(ValueError, match=f"index={index} is not one of {n_shares} shares"):
        Share(index, n_shares)
