import pytest
import torch

from benchmarks.peers.model_parallel_subject import ModelParallelSubject
from benchmarks.peers.variants import ModelParallel, TorchGPipe
from benchmarks.shapes import Shape
from benchmarks.subject import make_subject
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU
from benchmarks.whole_subject import WholeSubject

SHAPE = Shape(hidden_size=5, batch_size=4, n_steps=7, num_layers=4)


@pytest.mark.parametrize("variant", [ModelParallel(), TorchGPipe(2)], ids=lambda own: own.name)
def test_two_grus_in_a_row_find_the_loss_and_gradients_of_one(variant: Variant) -> None:
    if isinstance(variant, TorchGPipe):
        pytest.importorskip("torchgpipe")
    whole, cut = make_subject(WholeGRU(1), SHAPE), make_subject(variant, SHAPE)
    assert isinstance(whole, WholeSubject)
    assert isinstance(cut, ModelParallelSubject)
    torch.testing.assert_close(cut.train(), whole.train(), rtol=0, atol=1e-5)
    found, expected = ([weight.grad for weight in own.parameters] for own in (cut, whole))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
