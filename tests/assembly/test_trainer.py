"""What is said of the Trainer's settings before the run."""

from gru_parallel.assembly.trainer import check_trainer
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from tests.cli.in_process import SMALL


def test_settings_that_only_gpus_have_are_tried_without_a_warning() -> None:
    # Warnings are errors here; Lightning has one for float16 on the CPU that it is tried on.
    check_trainer(read_config(compose_config([*SMALL, "trainer.precision=16-mixed"])))
