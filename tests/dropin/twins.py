"""An `nn.GRU` and the drop-in with its weights, and ways to compare them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from tests.builders import relative_error

TOLERANCE = 1e-12
TWO_CPUS: dict[str, Any] = {"device_map": ["cpu:0", "cpu:1"], "n_chunks": 3}
CUTS: dict[str, dict[str, Any]] = {
    "in one piece": {},
    "in the caller's thread": {"n_micro_batches": 2, "n_chunks": 3},
    "two devices": TWO_CPUS,
    "two devices, zero bubble": {**TWO_CPUS, "n_micro_batches": 2, "schedule": "zero_bubble"},
}
"""How a drop-in of two layers may be cut."""

IN_PIECES = "two devices, zero bubble"


def cut_or_whole(
    name: str, uses: Collection[Callable[..., object]], whole: str = "in one piece"
) -> pytest.MarkDecorator:
    """Parametrise a test with every use of a drop-in that is cut, and of one that is not.

    Of the latter, every third is ordinary, and the others are marked `long`.

    Args:
        name: of the parameter, beside `cut`.
        uses: functions.
        whole: the cut that is little or none.
    """
    cases = []
    for cut in (whole, IN_PIECES):
        for place, use in enumerate(uses):
            marks = [pytest.mark.long] if cut == whole and place % 3 else []
            called = use.__name__.replace("_", " ")
            cases.append(pytest.param(cut, use, id=f"{cut}-{called}", marks=marks))
    return pytest.mark.parametrize(("cut", name), cases)


N_STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 3, 4


def make_twins(
    extras: dict[str, Any] | None = None, *, seed: int = 1, **options: Any
) -> tuple[nn.GRU, GRU]:
    """Make an `nn.GRU`, of two layers by default, and a drop-in that is cut as `extras` say."""
    torch.manual_seed(seed)
    sizes = {"input_size": FEATURES, "hidden_size": HIDDEN, "num_layers": 2}
    plain = nn.GRU(**{**sizes, "dtype": torch.float64, **options})
    return plain, GRU.from_torch(plain, **(extras or {}))


def make_x(*shape: int, seed: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw an input; without a shape, one for the default twins."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (N_STEPS, BATCH, FEATURES)), generator=generator, dtype=dtype)


def assert_same(actual: object, expected: object, tolerance: float = TOLERANCE) -> None:
    """Compare tensors, or what has tensors in it, one by one."""
    if isinstance(expected, Tensor):
        assert isinstance(actual, Tensor)
        # One may have been worked out on a GPU.
        actual = actual.to(expected.device)
        if expected.numel() == 0:
            assert actual.shape == expected.shape
        else:
            # What nearly cancels is known no better than the terms, which are of order 1.
            is_rounded = expected.dtype == torch.float64 and bool(
                ((actual - expected).abs() <= 1e-15).all()
            )
            assert is_rounded or relative_error(actual, expected) <= tolerance
    elif isinstance(expected, Iterable) and not isinstance(expected, str):
        assert isinstance(actual, Iterable)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other, tolerance)
    else:
        assert actual == expected


def gradients(module: nn.Module) -> list[Tensor | None]:
    """Return the gradients of a module's parameters."""
    return [parameter.grad for parameter in module.parameters()]


def weighted_sum(tensors: Sequence[Tensor]) -> Tensor:
    """Make a loss in which every entry counts differently."""
    return torch.stack([(t * make_x(*t.shape, seed=7)).sum() for t in tensors]).sum()


def refusal(call: Callable[[], object]) -> tuple[type[Exception], str]:
    """Return the class and the message of what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  # nn.GRU says which it has to be
        return type(error), str(error)
    raise AssertionError("it was not refused")
