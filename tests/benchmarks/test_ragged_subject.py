from collections.abc import Iterator

import pytest
import torch

from benchmarks.packed import PACKED
from benchmarks.ragged_subject import RaggedSubject
from benchmarks.shapes import Shape
from benchmarks.variants import RaggedGRU, RaggedVariant
from tests.builders import relative_error

SHAPE = Shape(hidden_size=6, batch_size=5, n_steps=17, num_layers=4)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """Restores what the subjects set for their process."""
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


def gradients(variant: RaggedVariant) -> list[torch.Tensor]:
    torch.manual_seed(0)
    subject = RaggedSubject(variant, SHAPE)
    subject.train()
    found = [parameter.grad for parameter in subject.gru.parameters()]
    assert all(gradient is not None for gradient in found)
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("variant", PACKED.variants, ids=lambda variant: variant.name)
def test_every_variant_finds_the_same_gradients(variant: RaggedVariant) -> None:
    expected = gradients(RaggedGRU(1))
    for actual, wanted in zip(gradients(variant), expected, strict=True):
        assert relative_error(actual, wanted) <= 1e-5


def test_a_step_is_timed_and_leaves_no_gradients() -> None:
    subject = RaggedSubject(RaggedGRU(1), SHAPE)
    assert subject.step().wall_ms > 0.0
    assert all(parameter.grad is None for parameter in subject.gru.parameters())
