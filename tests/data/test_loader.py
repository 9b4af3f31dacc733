from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.loader import EpochSampler
from gru_parallel.data.share import Share
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError
from tests.grids import covering

# Lightning 2.6 asks for torch's LeafSpec, which newer torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")

BATCH_SIZE, N_BATCHES = 4, 7
Seen = list[list[int]]


def data(**options: Any) -> SeriesDataModule:
    """27 training windows, 7 batches; what a batch holds can be told from its targets."""
    settings = {"batch_size": BATCH_SIZE, "seed": 5, **options}
    return SeriesDataModule(
        Table(None, np.arange(60.0)[:, None], ("a",), ("a",)),
        input_length=3,
        horizon=1,
        split=[30, 15, 15],
        centre="none",
        **settings,
    )


class Recorder(LightningModule):
    """Notes the windows that it is trained on."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: Seen = []
        self.fails_at = fails_at

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if len(self.seen) == self.fails_at:
            raise KeyError("a failing step")
        data: Any = self.trainer.datamodule
        rows = data.inverse(batch["y"] + batch["anchor"])
        self.seen.append(rows.flatten().round().int().tolist())
        return self.layer(batch["x"][:, -1]).square().mean()

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(Callback):
    """Writes a checkpoint at the n-th call of a hook, and notes how much was seen by then."""

    def __init__(self, hook: str, n: int, path: Path) -> None:
        self.n_left = n
        self.path = path
        self.n_seen = 0
        setattr(self, hook, self._save)

    def _save(self, trainer: Trainer, model: Recorder, *_: Any) -> None:
        self.n_left -= 1
        if self.n_left == 0:
            self.n_seen = len(model.seen)
            trainer.save_checkpoint(self.path)


def fit(
    model: Recorder,
    data_module: SeriesDataModule,
    *callbacks: Callback,
    checkpoint: Path | None = None,
    **flags: Any,
) -> None:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **flags,
    )
    trainer.fit(model, datamodule=data_module, ckpt_path=checkpoint)


def trained(order: str = "shuffled", **flags: Any) -> Seen:
    model = Recorder()
    fit(model, data(order=order), **flags)
    return model.seen


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(100, seed, draws=True)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert sorted(order(1, 2)) == list(range(100))


def test_iterating_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert len(list(data().train_dataloader())) == N_BATCHES
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_holds_every_window_once_and_keeps_the_smaller_last_batch() -> None:
    batches = list(data().train_dataloader())
    assert [len(batch["x"]) for batch in batches] == [4, 4, 4, 4, 4, 4, 3]
    seen = trained(max_epochs=1)
    assert Counter(row for batch in seen for row in batch) == Counter(range(3, 30))


def test_the_trainer_sets_the_epoch() -> None:
    seen = trained(max_epochs=3)
    assert len({str(seen[epoch * N_BATCHES : (epoch + 1) * N_BATCHES]) for epoch in range(3)}) == 3


LIMITS = {"max_epochs": {"max_epochs": 4}, "max_steps": {"max_steps": 28, "max_epochs": -1}}
MOMENTS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "after the first step": ("on_train_batch_end", 1, {}),
    "in the middle of an epoch": ("on_train_batch_end", 10, {}),
    "after the last step of an epoch": ("on_train_batch_end", 14, {}),
    "at the end of an epoch": ("on_train_epoch_end", 2, {}),
    "after validation": ("on_validation_end", 2, {}),
    "between validations": ("on_validation_end", 3, {"val_check_interval": 0.5}),
    "limited, middle": ("on_train_batch_end", 7, {"limit_train_batches": 5}),
    "limited, end": ("on_train_epoch_end", 2, {"limit_train_batches": 5}),
}


@covering(1, order=["shuffled", "streams"], limit=LIMITS, moment=MOMENTS)
def test_a_resumed_run_sees_exactly_the_batches_not_yet_seen(
    tmp_path: Path, order: str, limit: str, moment: str
) -> None:
    hook, n, flags = MOMENTS[moment]
    flags = LIMITS[limit] | flags
    whole, resumed = Recorder(), Recorder()
    save = SaveAt(hook, n, tmp_path / "x.ckpt")
    fit(whole, data(order=order), save, **flags)
    fit(resumed, data(order=order), checkpoint=save.path, **flags)
    assert 0 < save.n_seen < len(whole.seen)
    assert resumed.seen == whole.seen[save.n_seen :]


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("n", [1, 2])
def test_a_resumed_run_can_be_resumed_again(tmp_path: Path, limit: dict[str, int], n: int) -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    save = SaveAt("on_train_epoch_end", 1, tmp_path / "1.ckpt")
    # With max_steps the first epoch end of the second run is that of an epoch without batches.
    save_again = SaveAt("on_train_epoch_end", n, tmp_path / "2.ckpt")
    fit(first, data(), save, **limit)
    fit(second, data(), save_again, checkpoint=save.path, **limit)
    fit(third, data(), checkpoint=save_again.path, **limit)
    seen = first.seen[: save.n_seen] + second.seen[: save_again.n_seen] + third.seen
    assert seen == first.seen


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
def test_a_batch_whose_step_failed_is_seen_again(tmp_path: Path, limit: dict[str, int]) -> None:
    failed, resumed = Recorder(fails_at=10), Recorder()
    with pytest.raises(KeyError, match="a failing step"):
        fit(failed, data(), SaveAt("on_exception", 1, tmp_path / "x.ckpt"), **limit)
    fit(resumed, data(), checkpoint=tmp_path / "x.ckpt", **limit)
    assert failed.seen + resumed.seen == trained(**limit)


# Shares of both orders are fetched there in test_share.py.
@pytest.mark.parametrize("order", [pytest.param("shuffled", marks=pytest.mark.long), "streams"])
def test_fetching_in_another_process_changes_no_order(tmp_path: Path, order: str) -> None:
    whole, resumed = Recorder(), Recorder()
    save = SaveAt("on_train_batch_end", 10, tmp_path / "x.ckpt")
    fit(whole, data(num_workers=1, order=order), save, max_epochs=2)
    fit(resumed, data(num_workers=1, order=order), checkpoint=save.path, max_epochs=2)
    assert whole.seen == trained(order, max_epochs=2)
    assert resumed.seen == whole.seen[10:]


def together(of_shares: list[Seen]) -> Seen:
    """The batches that several replicas saw their shares of."""
    return [[row for rows in shares for row in rows] for shares in zip(*of_shares, strict=True)]


@covering(1, numbers=[(2, 1), (1, 2), (2, 4), (4, 3)], order=["shuffled", "streams"])
def test_a_run_resumes_in_the_middle_of_an_epoch_with_other_replicas(
    tmp_path: Path, numbers: tuple[int, int], order: str
) -> None:
    n_before, n_after = numbers

    def run(share: Share, *callbacks: Callback, checkpoint: Path | None = None) -> Seen:
        model = Recorder()
        fit(model, data(order=order, share=share), *callbacks, checkpoint=checkpoint, max_epochs=3)
        return model.seen

    checkpoint = tmp_path / "x.ckpt"
    save = SaveAt("on_train_batch_end", 10, checkpoint)
    first, *others = [Share(index, n_before) for index in range(n_before)]
    # As in a run of several replicas, the first one writes the checkpoint.
    before = together([run(first, save), *map(run, others)])
    shares = [Share(index, n_after) for index in range(n_after)]
    after = together([run(share, checkpoint=checkpoint) for share in shares])
    assert before == trained(order, max_epochs=3)
    assert after == before[10:]


def saved_after(n_steps: int, path: Path) -> Path:
    fit(Recorder(), data(), SaveAt("on_train_batch_end", n_steps, path), max_epochs=2)
    return path


@pytest.fixture(scope="module")
def in_an_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint from the middle of an epoch."""
    return saved_after(10, tmp_path_factory.mktemp("saved") / "x.ckpt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 3},
            "ckpt_path was written in the middle of an epoch with data.batch_size=4, and this run "
            "has data.batch_size=3; keep 4, or resume from a checkpoint written at the end of an "
            "epoch.",
        ),
        (
            {"seed": 6},
            "ckpt_path was written in the middle of an epoch with seed=5, and this run has seed=6; "
            "keep 5, or resume from a checkpoint written at the end of an epoch.",
        ),
        (
            {"order": "streams"},
            "ckpt_path was written in the middle of an epoch with data.order=shuffled, and this "
            "run has data.order=streams; keep shuffled, or resume from a checkpoint written at the "
            "end of an epoch.",
        ),
        (
            {"stride": 2},
            "ckpt_path was written in the middle of an epoch with the number of training "
            "windows=27, and this run has the number of training windows=14; keep 27, or resume "
            "from a checkpoint written at the end of an epoch.",
        ),
    ],
)
def test_other_batches_are_refused_in_the_middle_of_an_epoch(
    in_an_epoch: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        fit(Recorder(), data(**options), checkpoint=in_an_epoch, max_epochs=2)
    assert str(caught.value) == message


def test_a_checkpoint_that_names_no_order_was_of_shuffled_windows() -> None:
    state = data().train_dataloader().state_dict()
    del state["order"]["data.order"]
    state["n_batches_done"] = 3
    loader = data().train_dataloader()
    loader.load_state_dict(state)
    assert len(list(loader)) == N_BATCHES - 3
    with pytest.raises(UsageError, match=r"with data\.order=shuffled, and this run has"):
        data(order="streams").train_dataloader().load_state_dict(state)


def test_other_batches_are_welcome_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    checkpoint = saved_after(7, tmp_path / "x.ckpt")
    model = Recorder()
    fit(model, data(batch_size=9), checkpoint=checkpoint, max_epochs=2)
    assert [len(batch) for batch in model.seen] == [9, 9, 9]


@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train dataloader")
def test_overfitting_sees_the_same_batches_every_epoch() -> None:
    seen = trained(max_epochs=3, overfit_batches=2)
    assert seen[:2] == [[3, 4, 5, 6], [7, 8, 9, 10]]
    assert seen == seen[:2] * 3


@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train dataloader")
def test_overfitting_in_streams_goes_on_where_each_row_was() -> None:
    seen = trained("streams", max_epochs=2, overfit_batches=2)
    assert seen == seen[:2] * 2
    assert seen[1] == [row + 3 for row in seen[0]]


def test_streams_are_drawn_anew_for_every_epoch() -> None:
    model = Recorder()
    # Three phases of one length fill three rows as they are, and may change places.
    fit(model, data(order="streams", batch_size=3), max_epochs=3)
    n = len(model.seen) // 3
    epochs = [model.seen[epoch * n : (epoch + 1) * n] for epoch in range(3)]
    assert len({str(epoch) for epoch in epochs}) == 3
    for epoch in epochs:
        assert sorted(row for batch in epoch for row in batch) == list(range(3, 30))


def test_without_a_trainer_every_iteration_is_a_whole_epoch() -> None:
    loader = data().train_dataloader()
    assert len(loader) == len(list(loader)) == len(list(loader)) == N_BATCHES
    assert loader.state_dict()["n_batches_done"] == 0
