"""What PipelineStrategy itself promises."""

import lightning.pytorch as pl
import pytest
import torch

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.training import PipelineStrategy
from tests.builders import make_plan
from tests.runs import Recorder, fit, make_data, make_module, make_trainer


def test_another_kind_of_module_is_refused_with_what_to_do() -> None:
    trainer = make_trainer(make_plan([2, 2]))

    with pytest.raises(UsageError, match=r"not a Other; wrap the model in one\."):
        trainer.fit(Other(), make_data())


class Other(pl.LightningModule):
    """A module that the pipeline cannot run."""

    def training_step(self, batch: object, batch_idx: int) -> None:
        return None

    def validation_step(self, batch: object, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_a_plan_for_another_model_is_refused_with_both_numbers(no_thread_left: None) -> None:
    with pytest.raises(UsageError, match="The plan places 5 blocks, the model has 4"):
        fit(make_plan([2, 3]), make_module())


def test_the_pipeline_runs_during_the_fit_and_is_gone_after_it(no_thread_left: None) -> None:
    module = make_module()
    strategy = PipelineStrategy(make_plan([1, 3]))
    seen: list[bool] = []

    class Look(pl.Callback):
        def on_train_batch_end(self, *args: object) -> None:
            seen.append(isinstance(module.engine, ThreadEngine))

    trainer = make_trainer(None, strategy=strategy, callbacks=[Look(), Recorder()], max_epochs=1)
    trainer.fit(module, make_data())

    assert seen
    assert all(seen)
    assert isinstance(module.engine, WholeEngine)
    assert strategy.engine is None
    assert {weight.device.type for weight in module.parameters()} == {"cpu"}
