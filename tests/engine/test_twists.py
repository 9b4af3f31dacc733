"""Whatever is done to a model, an engine leaves the gradients that plain training leaves."""

from functools import cache

import pytest

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from tests.builders import MSE, make_plan, relative_error
from tests.engine.twists import TWISTS, Seen, train, train_plainly, twisted
from tests.grids import covering

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")

CUTS = {
    "uncut": ([4], "gpipe", 1, 1),
    "one stage, 2 x 3": ([4], "one_f_one_b", 2, 3),
    "two stages, 2 x 4": ([2, 2], "one_f_one_b", 2, 4),
    "four stages, 1 x 7": ([1, 1, 1, 1], "gpipe", 1, 7),
}

plainly = cache(train_plainly)


def assert_same(found: Seen, expected: Seen) -> None:
    assert list(found.numbers) == list(expected.numbers)
    for name, number in expected.numbers.items():
        assert relative_error(found.numbers[name], number) <= 1e-11, name
    for name, calls in expected.calls.items():
        assert len(found.calls[name]) == len(calls), name
        for seen, wanted in zip(found.calls[name], calls, strict=True):
            assert relative_error(seen, wanted) <= 1e-11, name


# Each twist in one stage and in several.
@covering(1, twist=TWISTS, cut=CUTS)
def test_threads_train_as_plain_pytorch_does(twist: str, cut: str) -> None:
    with (
        twisted(twist) as (model, seen),
        ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine,
    ):
        found = train(twist, model, seen, lambda x, y, step: engine.train_step(Windows(x, y), step))

    assert_same(found, plainly(twist))
