"""Validation, test and prediction through the pipeline are those of one device, row for row."""

import pytest
import torch
from torch import Tensor
from torchmetrics.functional import mean_absolute_error, mean_squared_error

from gru_parallel import Plan
from gru_parallel.choices import ERRORS
from gru_parallel.training.step_error_record import StepErrorRecord
from tests.builders import HORIZON, N_TARGETS, make_plan
from tests.runs import N_TEST, N_VALIDATION, make_data, make_module, make_trainer

# The last test batch holds 9 of 16 windows, the last validation batch 4: fewer than micro-batches.
PLAN = make_plan([1, 2, 1], "one_f_one_b", n_micro_batches=5, n_chunks=3)


def whole_part(part: str) -> dict[str, Tensor]:
    dataset = make_data().dataset(part)
    return dataset.__getitems__(range(len(dataset)))


@pytest.mark.parametrize("part", ["val", "test"])
def test_metrics_are_those_of_the_whole_set_at_once(part: str, no_thread_left: None) -> None:
    module = make_module()
    record = StepErrorRecord(HORIZON, N_TARGETS)
    trainer = make_trainer(PLAN, callbacks=[record])
    evaluate = trainer.validate if part == "val" else trainer.test

    (metrics,) = evaluate(module, make_data(), verbose=False)

    batch = whole_part("validation" if part == "val" else "test")
    with torch.no_grad():
        prediction = module.model.eval()(batch["x"])
    mse = float(mean_squared_error(prediction, batch["y"]))
    assert len(prediction) == (N_VALIDATION if part == "val" else N_TEST)
    assert metrics[f"{part}/mse"] == pytest.approx(mse, rel=1e-5)
    assert metrics[f"{part}/loss"] == pytest.approx(mse, rel=1e-5)
    mae = float(mean_absolute_error(prediction, batch["y"]))
    assert metrics[f"{part}/mae"] == pytest.approx(mae, rel=1e-5)
    if part == "test":
        assert record.errors is not None
        errors = (prediction - batch["y"]).double()
        assert record.errors.mse == pytest.approx(errors.square().mean(dim=0).numpy(), rel=1e-5)
        assert record.errors.mae == pytest.approx(errors.abs().mean(dim=0).numpy(), rel=1e-5)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
@pytest.mark.parametrize("plan", [None, PLAN], ids=["one device", "pipeline"])
def test_of_a_run_in_16_bits_metrics_are_those_by_step_and_target(
    precision: str, plan: Plan | None
) -> None:
    record = StepErrorRecord(HORIZON, N_TARGETS)
    trainer = make_trainer(plan, callbacks=[record], precision=precision)

    (metrics,) = trainer.test(make_module(), make_data(), verbose=False)

    assert record.errors is not None
    assert metrics["test/mse"] == pytest.approx(record.errors.mse.mean(), rel=1e-6)
    assert metrics["test/loss"] == pytest.approx(record.errors.mse.mean(), rel=1e-6)
    assert metrics["test/mae"] == pytest.approx(record.errors.mae.mean(), rel=1e-6)


@pytest.mark.parametrize("part", ["val", "test"])
def test_metrics_are_those_of_a_single_device(part: str) -> None:
    results = []
    for plan in (PLAN, None):
        trainer = make_trainer(plan)
        evaluate = trainer.validate if part == "val" else trainer.test
        results += evaluate(make_module(), make_data(), verbose=False)

    assert results[0].keys() == {f"{part}/{name}" for name in ("loss", *ERRORS)}
    assert results[0] == pytest.approx(results[1], rel=1e-5)


@pytest.mark.parametrize("plan", [None, PLAN])
def test_predictions_are_every_row_once_in_order_and_in_the_units_of_the_series(
    plan: Plan | None, no_thread_left: None
) -> None:
    module = make_module()

    predicted = make_trainer(plan).predict(module, make_data())

    assert predicted is not None
    predictions = torch.cat([batch for batch in predicted if isinstance(batch, Tensor)])
    batch = whole_part("test")
    with torch.no_grad():
        standardised = module.model.eval()(batch["x"]) + batch["anchor"]
    expected = make_data().inverse(standardised)
    assert predictions.shape == (N_TEST, HORIZON, N_TARGETS)
    assert float((predictions - expected).abs().max()) <= 1e-4
    assert float((standardised - expected).abs().max()) > 1
    # So a row in another's place would have been seen.
    gaps = torch.cdist(expected.flatten(1), expected.flatten(1)) + torch.eye(N_TEST)
    assert float(gaps.min()) > 1e-3


def test_predictions_of_a_high_level_keep_their_digits() -> None:
    found = []
    for level in (0.0, 1e9):
        predicted = make_trainer(PLAN).predict(make_module(), make_data(level=level))
        assert predicted is not None
        found.append(torch.cat([batch for batch in predicted if isinstance(batch, Tensor)]) - level)
    assert float((found[1] - found[0]).abs().max()) <= 1e-3


def test_evaluation_drops_nothing_out_and_leaves_the_weights_alone(no_thread_left: None) -> None:
    module = make_module(dropout=0.5)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    trainer = make_trainer(PLAN)

    first = trainer.test(module, make_data(), verbose=False)
    second = trainer.test(module, make_data(), verbose=False)

    assert first == second
    assert first == make_trainer(PLAN).test(make_module(), make_data(), verbose=False)
    after = {name: weight for name, weight in module.state_dict().items() if "metrics" not in name}
    assert all(torch.equal(weight, before[name]) for name, weight in after.items())


def test_limits_of_test_and_prediction_hold() -> None:
    single, pipelined = (
        make_trainer(plan, limit_test_batches=1, limit_predict_batches=1) for plan in (None, PLAN)
    )
    whole = make_trainer(None).test(make_module(), make_data(), verbose=False)

    limited = pipelined.test(make_module(), make_data(), verbose=False)
    predicted = pipelined.predict(make_module(), make_data())

    expected = single.test(make_module(), make_data(), verbose=False)
    assert limited[0] == pytest.approx(expected[0], rel=1e-5)
    assert limited[0] != pytest.approx(whole[0], rel=1e-5)
    assert predicted is not None
    assert len(predicted) == 1
