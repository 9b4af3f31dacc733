"""What every process of `tests/forked_ranks.py` has imported, and done once, when it begins."""

from importlib import import_module

import pytest

from gru_parallel.config.overrides import compose_config
from tests.cli.composing import load_configs_once
from tests.cli.in_process import SMALL

for name in (
    "gru_parallel.plan",
    "gru_parallel.train",
    "gru_parallel.verify",
    "tests.benchmarks.rank_gradients",
    "tests.cli.harm",
    "tests.cli.rank_commands",
    "tests.faults.starts",
    "tests.faults.witness",
    "tests.processes.process_world",
    "tests.training.rank_runs",
    "tests.training.test_interrupt",
):
    import_module(name)

with pytest.MonkeyPatch.context() as patch:
    load_configs_once(patch)
    compose_config(SMALL)
