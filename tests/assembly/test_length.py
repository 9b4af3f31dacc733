"""How long a run is, and how many test batches it has: those that Lightning's Trainer will take."""

from typing import Any

import pytest

from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.length import RunLength, run_length
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.data.series_data import SeriesData
from gru_parallel.errors import UsageError
from tests.cli.in_process import SMALL
from tests.runs import make_data, make_module, make_trainer

N_BATCHES = 4
"""51 test windows in batches of 16."""


def length_of(**options: Any) -> RunLength:
    overrides = [f"trainer.{name}={value}" for name, value in options.items()]
    config = read_config(compose_config([*SMALL, "data.batch_size=16", *overrides]))
    return run_length(config, build_data(config, SeriesData))


@pytest.mark.parametrize(
    ("options", "n_batches"),
    [
        ({}, N_BATCHES),
        ({"limit_test_batches": 1.0}, N_BATCHES),
        ({"limit_test_batches": 1}, 1),
        ({"limit_test_batches": 0.5}, 2),
        ({"limit_test_batches": 0.99}, 3),
        ({"limit_test_batches": 100}, N_BATCHES),
        ({"limit_test_batches": 0}, 0),
        ({"limit_test_batches": 0.0}, 0),
        ({"fast_dev_run": "true"}, 1),
        ({"fast_dev_run": 2}, 2),
        ({"fast_dev_run": 9, "limit_test_batches": 0}, N_BATCHES),
        ({"overfit_batches": 1}, N_BATCHES),
    ],
)
def test_a_limit_leaves_the_first_batches(options: dict[str, Any], n_batches: int) -> None:
    assert length_of(**options).n_test_batches == n_batches


@pytest.mark.parametrize(
    ("options", "n_batches"),
    [
        ({}, 2),
        ({"limit_val_batches": 1}, 1),
        ({"limit_val_batches": 0.5}, 1),
        ({"limit_val_batches": 0}, 0),
        ({"fast_dev_run": "true"}, 1),
        ({"overfit_batches": 1}, 1),
        ({"limit_test_batches": 1}, 2),
    ],
)
def test_so_it_does_of_the_25_windows_to_validate_on(
    options: dict[str, Any], n_batches: int
) -> None:
    assert length_of(**options).n_validation_batches == n_batches


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
    with pytest.raises(UsageError, match=r"limit_test_batches=0\.2 leaves none of the 4 test"):
        length_of(limit_test_batches=0.2)


@pytest.mark.parametrize(
    ("overrides", "n_steps", "n_epochs"),
    [
        ((), 6, 2),
        (("trainer.accumulate_grad_batches=2",), 4, 2),
        (("trainer.limit_train_batches=0.67",), 4, 2),
        (("trainer.limit_train_batches=1",), 2, 2),
        (("trainer.overfit_batches=1",), 2, 2),
        (("trainer.max_steps=4",), 4, 2),
        (("trainer.max_epochs=null", "trainer.max_steps=4"), 4, 2),
        (("trainer.max_epochs=-1",), None, None),
        (("trainer.max_epochs=null",), 3000, 1000),
        (("trainer.max_epochs=null", "trainer.max_time=00:01:00:00"), None, None),
        (("trainer.fast_dev_run=2",), 2, 1),
    ],
)
def test_the_steps_of_a_run_are_known(
    overrides: tuple[str, ...], n_steps: int | None, n_epochs: int | None
) -> None:
    config = read_config(compose_config([*SMALL, *overrides]))

    length = run_length(config, build_data(config, SeriesData))

    assert (length.n_steps, length.n_epochs) == (n_steps, n_epochs)
