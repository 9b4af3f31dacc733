"""With `WeightAveraging`, the averages are what is validated, kept and tested."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from gru_parallel.training.averages import AveragesOfWeights
from gru_parallel.training.checkpoint_file import read_checkpoint
from tests.builders import make_plan
from tests.runs import make_data, make_module, make_trainer

PLAN = make_plan([2, 2])


class SaveInValidation(pl.Callback):
    """Writes one checkpoint in each validation, and one after it."""

    def __init__(self, folder: Path) -> None:
        self.within, self.after = folder / "within.ckpt", folder / "after.ckpt"

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        trainer.save_checkpoint(self.within)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.after)


@pytest.mark.parametrize("plan", [None, PLAN], ids=["in one piece", "pipeline"])
def test_every_checkpoint_has_the_averages_and_the_test_is_of_them(
    plan: Any, tmp_path: Path, no_thread_left: None
) -> None:
    module, data = make_module(), make_data()
    save = SaveInValidation(tmp_path)
    averaging = [EMAWeightAveraging(decay=0.5), AveragesOfWeights()]
    trainer = make_trainer(plan, callbacks=[*averaging, save])
    trainer.fit(module, data)

    within, after = read_checkpoint(save.within), read_checkpoint(save.after)
    for key in ("state_dict", "current_model_state"):
        assert within[key].keys() == after[key].keys()
        assert all(torch.equal(within[key][name], after[key][name]) for name in after[key])
    (tested,) = trainer.test(module, data, ckpt_path=save.after, verbose=False)
    averages = make_module()
    averages.load_state_dict(after["state_dict"])
    assert tested == make_trainer(plan).test(averages, data, verbose=False)[0]
    averages.load_state_dict(after["current_model_state"])
    assert tested != make_trainer(plan).test(averages, data, verbose=False)[0]
