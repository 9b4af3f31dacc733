"""What a batch brings beside windows and targets: lengths, h_0 and resets."""

from typing import Any

import pytest
import torch

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError
from gru_parallel.model import Windows
from tests.builders import HIDDEN, MSE, build_model, make_batch, make_plan


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (
            {"h_0": torch.zeros(3, 5, HIDDEN)},
            r"h_0 of shape \(3, 5, 8\) does not fit; use \(4, bat",
        ),
        ({"h_0": torch.zeros(4, 2, HIDDEN)}, r"h_0 of shape \(4, 2, 8\) does not fit"),
        ({"reset": torch.zeros(3, dtype=torch.bool)}, r"reset of shape \(3,\) and type torch.bool"),
        ({"reset": torch.zeros(5)}, "type torch.float32 does not fit a batch of 5; give one bool"),
        ({"lengths": torch.tensor([1, 2])}, "give one whole number per row"),
        ({"lengths": [0, 1, 2, 3, 4]}, "lengths from 0 to 4 do not fit sequences of 7 steps"),
    ],
)
def test_what_does_not_fit_the_batch_is_refused_by_its_name(
    beside: dict[str, Any], message: str
) -> None:
    with ThreadEngine(build_model(), make_plan(), MSE) as engine:
        x, y = make_batch()
        with pytest.raises(ShapeError, match=message):
            engine.train_step(Windows(x, y, **beside))
        with pytest.raises(ShapeError, match=message):
            engine.predict(Windows(x, **beside))


def test_the_search_for_values_that_are_not_finite_sees_what_the_step_saw() -> None:
    model = build_model(h_0=["given", "carry", "given", "carry"])
    x, y = make_batch()
    with ThreadEngine(model, make_plan([2, 2]), MSE) as engine:
        lengths = torch.tensor([7, 3, 7, 7, 7])
        x[1, 3:] = torch.nan
        assert engine.first_nonfinite_stage(Windows(x)) == 0
        assert engine.first_nonfinite_stage(Windows(x, lengths=lengths)) is None
        h_0 = torch.zeros(4, 5, HIDDEN, dtype=x.dtype)
        h_0[2] = torch.inf
        assert engine.first_nonfinite_stage(Windows(x, lengths=lengths, h_0=h_0)) == 1
        engine.train_step(Windows(x, y, lengths=lengths))
        good = engine.carried["training"]
        # The batch that begins with a bad state, and leaves another behind.
        engine.carried = {"training": good.index_fill(0, torch.tensor(1), torch.inf)}
        engine.train_step(Windows(x, y, lengths=lengths, reset=torch.tensor([False] + [True] * 4)))
        assert engine.first_nonfinite_stage(Windows(x, lengths=lengths)) == 0
