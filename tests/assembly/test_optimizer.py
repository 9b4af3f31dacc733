"""What is said of the optimiser before the run, by a step on trial."""

from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import SGD

from gru_parallel.assembly.optimizer import check_optimizer
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.errors import UsageError
from tests.cli.in_process import SMALL

CARRY = ["model.h_0=[zeros,carry,zeros,zeros]", "data.order=streams", "data.centre=none"]
CARRY += ["data.stride=8"]
LBFGS = ["optimizer._target_=torch.optim.LBFGS", "~optimizer.weight_decay"]


class Twice(SGD):
    """Runs its batch once more from where the first gradient leads."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]  # one of SGD's two
        assert closure is not None
        super().step(closure)
        return super().step(closure)


TWICE = [f"optimizer._target_={Twice.__module__}.Twice"]


def check(*overrides: str) -> None:
    check_optimizer(read_config(compose_config([*SMALL, *overrides])))


@pytest.mark.parametrize("optimizer", [LBFGS, [*LBFGS, "+optimizer.max_iter=1"], TWICE])
def test_no_state_is_carried_by_an_optimiser_that_runs_a_batch_more_than_once(
    optimizer: list[str],
) -> None:
    with pytest.raises(UsageError, match=r"^model\.h_0=carry .* several times in one step"):
        check(*optimizer, *CARRY)


@pytest.mark.parametrize(
    "overrides",
    [
        LBFGS,
        [*LBFGS, "+optimizer.line_search_fn=strong_wolfe"],
        TWICE,
        CARRY,
        ["optimizer=sgd", *CARRY],
    ],
)
def test_either_alone_will_do(overrides: list[str]) -> None:
    check(*overrides)
