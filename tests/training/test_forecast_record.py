"""Predictions of some test windows are kept, and are those that the model gives."""

from functools import partial

import torch

from gru_parallel.data.forecasts import windows_of_batch
from gru_parallel.training.forecast_record import ForecastRecord
from tests.builders import make_plan
from tests.runs import make_data, make_module, make_trainer


def test_what_is_kept_is_what_the_model_predicts_for_the_windows() -> None:
    data, module = make_data(batch_size=4), make_module()
    record = ForecastRecord([0, 5, 24, 1000], partial(windows_of_batch, data))
    trainer = make_trainer(make_plan([2, 2], n_chunks=3), callbacks=[record])

    trainer.test(module, data, verbose=False)

    assert sorted(record.predictions) == [0, 5, 24]
    for window, predicted in record.predictions.items():
        x = data.dataset("test").__getitems__([window])["x"]
        with torch.no_grad():
            expected = module.model(x)[0]
        assert torch.allclose(predicted, expected, atol=1e-6)
