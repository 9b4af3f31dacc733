"""Which test windows a run is tested on: those that Lightning's Trainer will take."""

from typing import Any

import pytest

from gru_parallel.build import build_data, windows_to_test
from gru_parallel.errors import UsageError
from gru_parallel.overrides import compose_config
from gru_parallel.read_config import read_config
from tests.cli.in_process import SMALL
from tests.runs import make_data, make_module, make_trainer

N_BATCHES, N_WINDOWS = 4, 51


def chosen(**options: Any) -> list[int]:
    overrides = [f"trainer.{name}={value}" for name, value in options.items()]
    config = read_config(compose_config([*SMALL, "data.batch_size=16", *overrides]))
    return windows_to_test(config, build_data(config)).tolist()


@pytest.mark.parametrize(
    ("options", "n_windows"),
    [
        ({}, N_WINDOWS),
        ({"limit_test_batches": 1.0}, N_WINDOWS),
        ({"limit_test_batches": 1}, 16),
        ({"limit_test_batches": 0.5}, 32),
        ({"limit_test_batches": 0.99}, 48),
        ({"limit_test_batches": 100}, N_WINDOWS),
        ({"limit_test_batches": 0}, 0),
        ({"limit_test_batches": 0.0}, 0),
        ({"fast_dev_run": "true"}, 16),
        ({"fast_dev_run": 2}, 32),
        ({"fast_dev_run": 2, "limit_test_batches": 0}, 32),
        ({"overfit_batches": 1}, N_WINDOWS),
    ],
)
def test_the_first_batches_are_tested(options: dict[str, Any], n_windows: int) -> None:
    assert chosen(**options) == list(range(n_windows))


@pytest.mark.filterwarnings("ignore:.*fast_dev_run", "ignore:.*overfit")
@pytest.mark.parametrize(
    ("options", "n_batches"),
    [
        ({"limit_test_batches": 0.99}, 1),
        ({"fast_dev_run": 2, "limit_test_batches": 0}, 2),
        ({"overfit_batches": 1}, 2),
    ],
)
def test_lightning_counts_the_same(options: dict[str, Any], n_batches: int) -> None:
    # The standard test part has two batches.
    trainer = make_trainer(None, **options)
    trainer.test(make_module(), make_data(), verbose=False)

    assert trainer.num_test_batches == [n_batches]


def test_a_share_of_less_than_a_batch_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(limit_test_batches=0.2)

    assert str(caught.value) == (
        "trainer.limit_test_batches=0.2 is less than one of the 4 test batches; use a number of"
        " batches, such as 1, or 0 for no test."
    )
