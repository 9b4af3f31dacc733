"""What is said of the Trainer's settings before the run."""

import pytest

from gru_parallel.assembly.trainer import check_trainer
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.errors import UsageError
from tests.cli.in_process import SMALL


def test_settings_that_only_gpus_have_are_tried_without_a_warning() -> None:
    # Warnings are errors here; Lightning has one for float16 on the CPU that it is tried on.
    check_trainer(read_config(compose_config([*SMALL, "trainer.precision=16-mixed"])))


def test_weights_of_a_run_that_validated_by_the_clock_can_be_used_over_ranks() -> None:
    clock = "trainer.val_check_interval=00:00:10:00"
    config = read_config(compose_config([*SMALL, "engine=processes", clock]))

    check_trainer(config, ranks_train=False)
    with pytest.raises(UsageError, match=r"trainer\.val_check_interval is a time"):
        check_trainer(config)
