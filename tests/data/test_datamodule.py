from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from gru_parallel.data.baselines import repeat_last, seasonal_naive
from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.loader import ResumableLoader
from gru_parallel.data.share import Share
from gru_parallel.data.table import Table, tables_from_arrays
from gru_parallel.data.widths import Widths
from gru_parallel.errors import UsageError

VALUES = np.random.default_rng(0).normal(7.0, 3.0, (100, 3))
TABLE = Table(None, VALUES, ("a", "b", "c"), ("c", "a"))
SETTINGS: dict[str, Any] = {"input_length": 6, "horizon": 4, "batch_size": 8}


def data(tables: Table | list[Table] = TABLE, **options: Any) -> SeriesDataModule:
    return SeriesDataModule(tables, **{**SETTINGS, **options})


def error_of(**options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        data(**options)
    return str(caught.value)


def test_it_says_what_the_model_has_to_fit() -> None:
    module = data()
    sizes = (module.widths, module.shape.input_length, module.shape.horizon)
    assert sizes == (Widths(3, 2), 6, 4)
    assert module.shape.n_target_steps == 4
    assert data(task="every_step", centre="none").shape.n_target_steps == 6


@pytest.mark.parametrize("task", ["window", "every_step"])
def test_batches_have_the_shapes_that_were_promised(task: str) -> None:
    module = data(task=task, centre="none")
    for loader in (
        module.train_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
        module.predict_dataloader(),
    ):
        n_windows = 0
        # By which errors are scaled.
        measured: set[str] = set() if isinstance(loader, ResumableLoader) else {"naive_error"}
        for batch in loader:
            n = len(batch["x"])
            assert set(batch) == {"x", "y", "anchor", *measured}
            assert batch["x"].shape == (n, 6, 3)
            assert batch["y"].shape == (n, module.shape.n_target_steps, 2)
            assert batch["anchor"].shape == (n, 1, 2)
            for name, tensor in batch.items():
                assert tensor.dtype == (torch.float64 if name == "anchor" else torch.float32)
            n_windows += n
        assert n_windows == len(loader.dataset)


def test_the_split_stride_and_look_back_decide_the_number_of_windows() -> None:
    def n_windows(**options: Any) -> list[int]:
        module = data(split=[60, 20, 20], **options)
        return [len(module.dataset(part)) for part in ("training", "validation", "test")]

    assert n_windows() == [51, 17, 17]
    assert n_windows(stride=10) == [6, 17, 17]
    assert n_windows(eval_stride=10) == [51, 2, 2]
    assert n_windows(look_back=False) == [51, 11, 11]


def test_the_scale_comes_from_the_training_rows_alone() -> None:
    changed = VALUES.copy()
    changed[70:] *= 1000
    table = Table(None, changed, TABLE.columns, TABLE.targets)
    assert (data(table).standardizer.mean == VALUES[:70].mean(axis=0)).all()
    assert (data(table).standardizer.scale == VALUES[:70].std(axis=0)).all()


def test_inputs_are_standardised_and_centred() -> None:
    standard = (VALUES - VALUES[:70].mean(axis=0)) / VALUES[:70].std(axis=0)
    batch = next(iter(data().test_dataloader()))
    # The first test window ends at row 80.
    assert np.allclose(batch["x"][0], standard[74:80] - standard[79], atol=1e-5)
    assert np.allclose(batch["y"][0], (standard[80:84] - standard[79])[:, [2, 0]], atol=1e-5)
    assert np.allclose(batch["anchor"][0], standard[79, [2, 0]], atol=1e-5)


def test_standardised_windows_have_the_mean_0_and_the_deviation_1() -> None:
    standard = (VALUES - VALUES[:70].mean(axis=0)) / VALUES[:70].std(axis=0)
    rows = standard[74:80]
    deviation = np.sqrt(rows.var(axis=0) + 1e-5)

    batch = next(iter(data(centre="standardize").test_dataloader()))

    assert np.allclose(batch["x"][0], (rows - rows.mean(axis=0)) / deviation, atol=1e-5)
    assert np.allclose(batch["scale"][0, 0], deviation[[2, 0]], atol=1e-5)
    assert np.allclose(batch["anchor"][0, 0], rows.mean(axis=0)[[2, 0]], atol=1e-5)
    # Targets keep their units, in which errors are.
    restored = batch["y"][0] + batch["anchor"][0]
    assert np.allclose(restored, standard[80:84][:, [2, 0]], atol=1e-5)


def test_counts_stay_counts_and_what_goes_in_is_divided_by_the_size_of_the_window() -> None:
    rows = VALUES[74:80]
    size = 1 + np.abs(rows).mean(axis=0)
    module = data(scaling="none", centre="scale")

    batch = next(iter(module.test_dataloader()))

    assert np.allclose(batch["x"][0], rows / size, rtol=1e-5)
    assert np.allclose(batch["scale"][0, 0], size[[2, 0]], rtol=1e-5)
    assert not batch["anchor"].any()
    assert np.allclose(batch["y"][0], VALUES[80:84][:, [2, 0]], rtol=1e-5)
    assert torch.equal(module.inverse(batch["y"]), batch["y"])
    with pytest.raises(
        UsageError, match=r"data\.scaling=log is unknown; use one of standardize, none\."
    ):
        data(scaling="log")


def test_short_windows_are_standardised_by_their_own_rows() -> None:
    module = data(centre="standardize", min_input_length=2)
    batch = next(iter(module.predict_dataloader()))
    dataset = module.dataset("training")
    short = dataset[0]
    whole = next(dataset[index] for index in range(len(dataset)) if dataset[index]["lengths"] == 6)

    together = dataset.__getitems__([0, len(dataset) - 1])

    assert short["lengths"] == 2
    assert torch.allclose(short["x"].mean(dim=0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(together["x"][0, :2], short["x"])
    assert not together["x"][0, 2:].any()
    assert {*whole} == {"x", "y", "anchor", "scale", "lengths"}
    assert {*batch} - {"naive_error"} == {*whole}


def test_inverse_gives_back_the_units_of_the_series() -> None:
    module = data()
    batch = next(iter(module.test_dataloader()))
    units = module.inverse(batch["y"] + batch["anchor"])
    assert units.dtype == torch.float64
    assert np.allclose(units[0], VALUES[80:84][:, [2, 0]], rtol=1e-5)


def test_inverse_takes_forecasts_that_carry_gradients() -> None:
    forecast = torch.zeros(2, 4, 2, requires_grad=True)
    expected = VALUES[:70].mean(axis=0)[[2, 0]]
    assert np.allclose(data().inverse(forecast)[1, 3], expected, rtol=1e-5)


def test_evaluation_comes_in_the_order_of_time_every_time() -> None:
    module = data(centre="none")
    first, second = (torch.cat([batch["y"] for batch in module.val_dataloader()]) for _ in range(2))
    assert torch.equal(first, second)
    assert np.allclose(module.inverse(first[:, 0]), VALUES[70:77][:, [2, 0]], rtol=1e-5)


def test_a_second_setup_does_nothing() -> None:
    module = data()
    module.setup("fit")
    dataset = module.dataset("test")
    module.setup("test")
    assert module.dataset("test") is dataset


def test_baselines_are_scored_on_the_test_part_by_default() -> None:
    module = data(season_length=5)
    test = module.dataset("test")
    assert module.baselines() == {
        "repeat_last": repeat_last(test),
        "seasonal_naive": seasonal_naive(test, 5),
    }
    validation = module.dataset("validation")
    assert module.baselines("validation")["repeat_last"] == repeat_last(validation)


@pytest.mark.parametrize("order", ["shuffled", "streams"])
@pytest.mark.parametrize("n_series", [1, 3])
@pytest.mark.parametrize("n_shares", [1, 2])
def test_the_windows_of_the_first_batches_are_those_that_an_evaluation_sees(
    order: str, n_series: int, n_shares: int
) -> None:
    options: dict[str, Any] = {"order": order, "centre": "none", "stride": 2, "eval_stride": 2}
    arrays = [VALUES[index * 7 :] for index in range(n_series)]
    modules = [
        data(tables_from_arrays(arrays), **options, share=Share(index, n_shares))
        for index in range(n_shares)
    ]
    n_batches = modules[0].n_batches("test")
    assert n_batches >= 2

    seen: list[torch.Tensor] = []
    for number, shares in enumerate(zip(*(m.test_dataloader() for m in modules), strict=True)):
        seen += [share["y"] for share in shares]
        for module in modules:
            windows = module.evaluation_windows("test", number + 1)
            expected = module.dataset("test").__getitems__(windows)["y"]
            assert torch.equal(_sorted(torch.cat(seen)), _sorted(expected))
    assert number + 1 == n_batches
    assert len(windows) == len(modules[0].dataset("test"))


def _sorted(windows: torch.Tensor) -> torch.Tensor:
    rows = windows.flatten(1)
    return rows[torch.argsort(rows[:, 0])]


def test_without_a_season_there_is_no_seasonal_baseline() -> None:
    assert set(data().baselines()) == {"repeat_last"}


def test_a_batch_may_be_larger_than_a_part() -> None:
    assert [len(batch["x"]) for batch in data(batch_size=1000).val_dataloader()] == [7]


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("input_length", "data.input_length"),
        ("horizon", "data.horizon"),
        ("batch_size", "data.batch_size"),
        ("stride", "data.stride"),
        ("eval_stride", "data.eval_stride"),
        ("season_length", "data.season_length"),
    ],
)
@pytest.mark.parametrize("size", [0, -1])
def test_sizes_that_are_not_positive_are_refused(option: str, setting: str, size: int) -> None:
    expected = f"{setting}={size} is not a size; use a whole number of at least 1."
    assert error_of(**{option: size}) == expected


def test_a_part_too_short_is_refused_before_any_work() -> None:
    assert error_of(horizon=11) == (
        "The validation part has 10 rows, but a window of data.input_length=6 and "
        "data.horizon=11 needs 11; use smaller ones, or change data.split."
    )
    assert error_of(input_length=80).startswith("The training part has 70 rows, but")


def test_a_split_that_does_not_fit_is_refused() -> None:
    assert error_of(split=[80, 20, 20]).startswith("data.split=[80,20,20] takes 120 rows")


def test_an_unknown_choice_is_refused_before_any_work() -> None:
    assert error_of(centre="mean").startswith("data.centre=mean is unknown")
    assert error_of(task="steps", centre="none").startswith("model.head=steps is unknown")


def series_of(*lengths: int) -> list[Table]:
    """Series of one column whose rows count on from series to series."""
    ends = np.cumsum(lengths)
    return tables_from_arrays(
        [np.arange(e - n, e)[:, None] for n, e in zip(lengths, ends, strict=True)]
    )


def test_the_scale_comes_from_the_training_rows_of_all_series() -> None:
    module = data(series_of(40, 60), split=[20, 10, 10])
    training = np.concatenate([np.arange(20), np.arange(40, 60)])
    assert module.standardizer.mean == pytest.approx([training.mean()])
    assert module.standardizer.scale == pytest.approx([training.std()])


def test_each_series_gives_windows_to_each_part() -> None:
    module = data(series_of(40, 60), split=[0.5, 0.25, 0.25])
    n_windows = [len(module.dataset(part)) for part in ("training", "validation", "test")]
    assert n_windows == [11 + 21, 7 + 12, 7 + 12]


def test_whole_series_can_be_kept_for_the_test() -> None:
    module = data(series_of(15, 20, 12, 30), split=[2, 1, 1], split_by="series", centre="none")
    n_windows = [len(module.dataset(part)) for part in ("training", "validation", "test")]
    assert n_windows == [6 + 11, 3, 21]
    first = next(iter(module.test_dataloader()))["x"][0]
    assert np.allclose(module.inverse(first)[:, 0], np.arange(47, 53), rtol=1e-5)


def test_short_windows_say_their_lengths() -> None:
    module = data(series_of(12, 12, 12), min_input_length=2, split_by="series", split=[1, 1, 1])
    (batch,) = module.test_dataloader()
    assert batch["lengths"].tolist() == [2, 3, 4, 5, 6, 6, 6]
    assert batch["x"].shape == (7, 6, 1)
    assert (batch["x"][0, 2:] == 0).all()


def test_a_series_too_short_for_one_window_is_named() -> None:
    message = error_of(tables=series_of(60, 9), split=[0.5, 0.25, 0.25])
    assert message.startswith("The training part of series '1' has 4 rows, but a window of data.in")


def test_streams_reach_every_window_of_every_part_once() -> None:
    module = data(series_of(40, 60), order="streams", centre="none", stride=2, min_input_length=2)
    loaders = {
        "training": module.train_dataloader(),
        "validation": module.val_dataloader(),
        "test": module.predict_dataloader(),
    }
    for part, loader in loaders.items():
        batches = list(loader)
        assert len(batches) == len(loader)
        measured: set[str] = set() if part == "training" else {"naive_error"}
        assert set(batches[0]) == {"x", "y", "anchor", "lengths", "reset", "index", *measured}
        index = torch.cat([batch["index"] for batch in batches])
        assert sorted(index.tolist()) == list(range(len(module.dataset(part))))
        assert batches[0]["reset"].all()


def test_evaluation_in_streams_is_the_same_every_time() -> None:
    module = data(order="streams", centre="none", seed=3)
    first, second = ([batch["index"] for batch in module.val_dataloader()] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_an_order_that_cannot_work_is_refused_before_any_work() -> None:
    assert error_of(order="sorted") == (
        "data.order=sorted is unknown; use one of shuffled, streams."
    )
    streams = {"order": "streams", "centre": "none"}
    assert error_of(**streams, stride=4).startswith("data.stride=4 does not divide data.inp")
    assert error_of(**streams, eval_stride=5).startswith("data.eval_stride=5 does not divide")


def test_streams_of_windows_at_different_levels_are_refused() -> None:
    assert error_of(order="streams", centre="last") == (
        "data.centre=last makes each window relative to its last row, so a state carried along "
        "data.order=streams would be relative to another level in each window; use "
        "data.centre=none."
    )


def test_one_long_series_fills_the_rows_of_training_and_stays_longer_in_evaluation() -> None:
    module = data(
        series_of(2000), order="streams", centre="none", stride=6, eval_stride=6, batch_size=16
    )
    rows = {
        "training": [len(batch["x"]) for batch in module.train_dataloader()],
        "validation": [len(batch["x"]) for batch in module.val_dataloader()],
        "test": [len(batch["x"]) for batch in module.test_dataloader()],
    }
    assert {part: len(module.dataset(part)) for part in rows} == {
        "training": 232,
        "validation": 33,
        "test": 67,
    }
    assert rows["training"] == [16] * 14 + [8]
    assert rows["validation"] == [8] * 4 + [1]
    assert rows["test"] == [8] * 8 + [3]


class Echo(LightningModule):
    """Forecasts, for each window, what its inputs sum to."""

    def predict_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["x"].sum(dim=(1, 2))


# Lightning 2.6 asks for torch's LeafSpec, which newer torch deprecates.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")
def test_the_trainer_predicts_every_test_window_in_order() -> None:
    module = data()
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    forecasts = trainer.predict(Echo(), datamodule=module)
    assert forecasts is not None
    test = module.dataset("test")
    expected = test.__getitems__(range(len(test)))["x"].sum(dim=(1, 2))
    assert torch.equal(torch.cat(forecasts), expected)


class EchoIndex(LightningModule):
    """Forecasts, for each window, what its inputs sum to, and says which window it is."""

    def predict_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.stack([batch["index"], batch["x"].sum(dim=(1, 2))], dim=1)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")
def test_predictions_in_streams_can_be_brought_back_into_order() -> None:
    module = data(order="streams", centre="none")
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    forecasts = trainer.predict(EchoIndex(), datamodule=module)
    assert forecasts is not None
    index, sums = torch.cat(forecasts).T
    test = module.dataset("test")
    expected = test.__getitems__(range(len(test)))["x"].sum(dim=(1, 2))
    assert torch.allclose(sums[index.argsort()], expected)
