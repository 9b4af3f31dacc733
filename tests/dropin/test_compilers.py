"""torch.compile breaks its graph at the drop-in; what would need its graph is refused."""

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from tests.dropin.twins import CUTS, assert_same, gradients, make_twins, make_x, refusal


class Model(nn.Module):
    """Something to compile on both sides of a GRU."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        self.gru = gru

    def forward(self, x: Tensor) -> Tensor:
        y, h_n = self.gru(x.tanh())
        return y.square().sum() + h_n.sin().sum()


@pytest.mark.parametrize("cut", CUTS)
def test_a_compiled_model_computes_what_it_did(cut: str) -> None:
    plain, ours = make_twins(CUTS[cut])
    compiled = torch.compile(Model(ours), backend="eager")
    found = []
    for model, gru in ((compiled, ours), (Model(plain), plain)):
        for x in (make_x(), make_x(seed=5), make_x(9, 2, 3)):
            loss = model(x)
            loss.backward()
        found.append([loss, *gradients(gru)])
    torch.compiler.reset()

    assert_same(*found)


# torch's own: TorchScript is on its way out, and tracing warns of every check of a shape.
@pytest.mark.filterwarnings("ignore")
def test_scripting_and_tracing_are_refused_and_point_to_nn_gru() -> None:
    _, ours = make_twins(CUTS["two devices"])
    model = nn.Sequential(ours)
    for record in (torch.jit.script, lambda module: torch.jit.trace(module, make_x())):
        for module in (ours, model):
            found, message = refusal(lambda record=record, module=module: record(module))

            assert issubclass(found, RuntimeError)
            assert "GRU.to_torch()" in message
    # Being refused has left nothing behind.
    assert isinstance(model[0], GRU)
    assert model(make_x())[0].shape == (5, 3, 4)
