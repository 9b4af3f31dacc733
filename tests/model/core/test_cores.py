"""The cores: each computes what `nn.GRU` computes, and B and W its gradients."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from gru_parallel.model import DropoutKey, GRUBlock, GRUStack
from gru_parallel.model.core import equations
from gru_parallel.model.core.layer import run_layer
from gru_parallel.model.core.own import OWN_CORES, Pending, add_weight_gradients
from gru_parallel.model.core.released import Released
from gru_parallel.model.core.run import own_core, run_gru
from gru_parallel.model.core.tape import Tape
from tests.grids import covering

T, B, WIDTH, H = 5, 3, 4, 6
FEW = (2, 3)
"""Width and hidden size where every number is varied in turn."""
OWN = list(OWN_CORES)


@pytest.fixture(params=[1, 2**18], ids=["step by step", "in one piece"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equations, "NUMBERS_OF_A_PIECE", request.param)


def gru_of(
    layers: int = 1,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
    sizes: tuple[int, int] = (WIDTH, H),
) -> nn.GRU:
    torch.manual_seed(3)
    return nn.GRU(*sizes, layers, bias=bias, dtype=dtype)


def inputs(
    layers: int = 1,
    *,
    n_steps: int = T,
    n_rows: int = B,
    dtype: torch.dtype = torch.float64,
    sizes: tuple[int, int] = (WIDTH, H),
) -> list[Tensor]:
    torch.manual_seed(4)
    shapes = ((n_steps, n_rows, sizes[0]), (layers, n_rows, sizes[1]))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def gradients(gru: nn.GRU, given: list[Tensor], results: tuple[Tensor, Tensor]) -> list[Tensor]:
    torch.manual_seed(5)
    loss = sum((result * torch.randn_like(result)).sum() for result in results)
    assert isinstance(loss, Tensor)
    return list(torch.autograd.grad(loss, [*given, *gru.parameters()]))


@covering(2, core=OWN, bias=[True, False], n_steps=[1, 2, T])
@pytest.mark.usefixtures("pieces")
def test_gradients_are_those_of_small_differences(core: str, bias: bool, n_steps: int) -> None:
    x, h_0 = inputs(n_steps=n_steps, sizes=FEW)
    weights = list(gru_of(bias=bias, sizes=FEW).parameters())

    def run(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return run_layer(OWN_CORES[core], x, h, weights)

    assert torch.autograd.gradcheck(run, (x, h_0, *weights))


@covering(1, core=OWN, bias=[True, False])
@pytest.mark.usefixtures("pieces")
def test_second_gradients_are_those_of_small_differences(core: str, bias: bool) -> None:
    x, h_0 = inputs(n_steps=2, n_rows=1, sizes=FEW)
    weights = list(gru_of(bias=bias, sizes=FEW).parameters())

    def run(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return run_layer(OWN_CORES[core], x, h, weights)

    assert torch.autograd.gradgradcheck(run, (x, h_0, *weights))


@covering(1, core=OWN, how=["create_graph", "is_grads_batched"])
def test_what_lies_behind_x_and_h_0_is_counted_once(core: str, how: str) -> None:
    gru, given = gru_of(2, sizes=(H, H)), inputs(2, sizes=(H, H))
    of_both = []
    for name in (core, "native"):
        # The same weights again, over what they have given.
        y, _ = run_gru(gru, *run_gru(gru, *given, core=name), core=name)
        wanted, dy = [*given, *gru.parameters()], torch.ones_like(y)
        dy = dy if how == "create_graph" else torch.stack([dy, 2 * dy])
        of_both.append(torch.autograd.grad(y, wanted, dy, **{how: True}))
    for ours, theirs in zip(*of_both, strict=True):
        assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()


TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}


@covering(
    2,
    core=OWN,
    dtype=list(TOLERANCES),
    batch_sizes=(None, [3, 3, 2, 1, 1]),
    layers=(1, 3),
    bias=(True, False),
)
def test_a_core_computes_what_nn_gru_does(
    core: str, dtype: torch.dtype, batch_sizes: list[int] | None, layers: int, bias: bool
) -> None:
    gru, given = gru_of(layers, bias=bias, dtype=dtype), inputs(layers, dtype=dtype)
    found, expected = (run_gru(gru, *given, batch_sizes, core=name) for name in (core, "native"))
    pairs = [*zip(found, expected, strict=True)]
    of_both = (gradients(gru, given, results) for results in (found, expected))
    for ours, theirs in [*pairs, *zip(*of_both, strict=True)]:
        assert ours.dtype == theirs.dtype
        assert (ours - theirs).abs().max() <= TOLERANCES[dtype] * theirs.abs().max()


@pytest.mark.parametrize("core", OWN)
def test_without_gradients_the_outputs_are_the_same_to_the_bit(core: str) -> None:
    gru, given = gru_of(2), inputs(2)
    with torch.no_grad():
        y, h_n = run_gru(gru, *given, core=core)
    kept, kept_h_n = run_gru(gru, *given, core=core)
    assert y.equal(kept)
    assert h_n.equal(kept_h_n)


@pytest.mark.parametrize(("core", "most"), [("lean", 2.1), ("fused", 6.1)])
def test_what_f_keeps(core: str, most: float) -> None:
    n_steps, batch, width = 50, 4, 8
    gru = nn.GRU(width, width)
    x, h_0 = torch.randn(n_steps, batch, width), torch.randn(1, batch, width)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run_gru(gru, x, h_0, core=core)
    weights = sum(weight.nbytes for weight in gru.parameters())
    assert sum(kept.values()) - weights <= most * x.nbytes


class NewMemory(TorchDispatchMode):
    """Counts operators that make memory."""

    n_made = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs))}
        made = [t for t in _tensors(result) if t.untyped_storage().data_ptr() not in given]
        self.n_made += bool(made)
        return result


def _tensors(tree: object) -> Iterator[Tensor]:
    leaves, _ = torch.utils._pytree.tree_flatten(tree)
    return (leaf for leaf in leaves if isinstance(leaf, Tensor))


@pytest.mark.parametrize("core", OWN)
def test_no_step_makes_memory(core: str) -> None:
    def n_made(n_steps: int) -> int:
        gru, given = gru_of(), inputs(n_steps=n_steps)
        with NewMemory() as mode:
            gradients(gru, given, run_gru(gru, *given, core=core))
        return mode.n_made

    assert n_made(40) == n_made(4)


@pytest.mark.parametrize("core", OWN)
def test_w_can_wait(core: str) -> None:
    gru, given = gru_of(2), inputs(2)
    left: list[tuple[Any, Pending]] = []
    y, h_n = run_gru(gru, *given, core=core, tape=Tape(lambda *work: left.append(work)))
    (y.square().sum() + h_n.sum()).backward()
    assert all(weight.grad is None for weight in gru.parameters())
    sums = {weight: torch.zeros_like(weight) for weight in gru.parameters()}
    for weights, pending in left:
        add_weight_gradients(pending, [sums[weight] for weight in weights])
    y, h_n = run_gru(gru, *(t.detach() for t in given), core=core)
    (y.square().sum() + h_n.sum()).backward()
    for weight, total in sums.items():
        assert total.equal(weight.grad)


def test_w_of_weights_with_a_history_does_not_wait() -> None:
    gru, given = gru_of(), inputs()
    weights = [weight * 2 for weight in gru.parameters()]

    def leave(*work: object) -> None:
        raise AssertionError(work)

    y, _ = run_layer(OWN_CORES["fused"], *given, weights, leave)
    y.sum().backward()
    assert all(weight.grad is not None for weight in gru.parameters())


def test_a_frozen_weight_gets_no_gradient() -> None:
    gru, given = gru_of(), inputs()
    gru.weight_hh_l0.requires_grad_(False)
    y, _ = run_gru(gru, *given, core="fused")
    y.sum().backward()
    assert gru.weight_hh_l0.grad is None
    assert gru.weight_ih_l0.grad is not None


class OwnForward(nn.GRU):
    def forward(self, *args: Any) -> Any:
        return super().forward(*args)


def test_a_forward_or_a_hook_of_the_callers_own_is_called() -> None:
    x, _ = inputs()
    gru = gru_of()
    assert own_core(gru, x, "auto") is OWN_CORES["fused"]
    assert own_core(OwnForward(WIDTH, H), x, "fused") is None
    handle = gru.register_forward_hook(lambda *_: None)
    assert own_core(gru, x, "fused") is None
    handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert own_core(gru, x, "fused") is None
    handle.remove()
    assert own_core(gru, x, "native") is None
    assert own_core(gru, x.to("meta"), "fused") is None


def test_functional_transforms_and_forward_mode_see_torchs_operator() -> None:
    gru, (x, h_0) = gru_of(), inputs()

    def total(x: Tensor) -> Tensor:
        return run_gru(gru, x, h_0.detach())[0].sum()

    (expected,) = torch.autograd.grad(total(x), x)
    assert torch.allclose(torch.func.grad(total)(x.detach()), expected)
    with forward_ad.dual_level():
        assert own_core(gru, x, "fused") is None
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        assert own_core(gru, x, "fused") is None


@pytest.mark.parametrize("core", OWN)
def test_autocast_computes_in_the_type_that_is_asked_for(core: str) -> None:
    gru, given = gru_of(dtype=torch.float32), inputs(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        results = run_gru(gru, *given, core=core)
    assert {result.dtype for result in results} == {torch.bfloat16}
    assert {found.dtype for found in gradients(gru, given, results)} == {torch.float32}


def give_other_memory(stack: GRUStack, y: Tensor) -> None:
    for weight in stack.parameters():
        weight.data = torch.zeros_like(weight)


def change_outputs(stack: GRUStack, y: Tensor) -> None:
    y.relu_()


@pytest.mark.parametrize("change", [give_other_memory, change_outputs])
@pytest.mark.parametrize("core", OWN)
def test_b_goes_by_what_f_has_read_and_given(
    core: str, change: Callable[[GRUStack, Tensor], None]
) -> None:
    found = []
    for name in (core, "native"):
        stack = make_stack(core=name)
        x, h_0 = inputs(2)
        y, _ = stack(x, h_0)
        change(stack, y)
        found.append(torch.autograd.grad(y.sum(), [x, h_0, *stack.parameters()]))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-12


LOOPS = {name: each for name, each in vars(equations).items() if isinstance(each, Released)}


def test_loops_are_compiled_and_compute_the_same_as_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(LOOPS) == 5
    assert all(isinstance(loop._compiled, torch.jit.ScriptFunction) for loop in LOOPS.values())
    found = []
    for is_compiled in (True, False):
        for loop in () if is_compiled else LOOPS.values():
            monkeypatch.setattr(loop, "_compiled", loop._function)
        for core in OWN:
            gru, given = gru_of(2), inputs(2)
            results = run_gru(gru, *given, core=core)
            found.append([*results, *gradients(gru, given, results)])
    half = len(OWN)
    for compiled, plain in zip(found[:half], found[half:], strict=True):
        assert all(one.equal(other) for one, other in zip(compiled, plain, strict=True))


def test_a_first_call_leaves_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    function = equations.gradient_of_inputs._function
    loop = Released(function)
    given = [torch.ones(shape) for shape in ((1, 1, 4), (3, 2), (1, 1, 2))]
    with monkeypatch.context() as patch:
        # Threads that set them at once would leave them set.
        patch.delattr(warnings, "catch_warnings")
        loop(*given)


@pytest.mark.parametrize("core", OWN)
def test_backward_within_autocast_keeps_to_the_types_of_forward(core: str) -> None:
    stack, (x, h_0) = make_stack(core=core, dtype=torch.float32), inputs(2, dtype=torch.float32)
    y, _ = stack(x, h_0)
    (expected,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(y.sum(), x)
    assert found.equal(expected)


@pytest.mark.parametrize("core", OWN)
def test_no_step_and_a_wrong_type_are_refused_in_the_words_of_torch(core: str) -> None:
    stack, (x, h_0) = make_stack(core=core), inputs(2)
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        stack(x[:0], h_0)
    with pytest.raises(ValueError, match="does not match weight dtype"):
        stack(x.float(), h_0)


@pytest.mark.parametrize("core", OWN)
def test_a_class_of_ones_own_may_have_another_drop(core: str) -> None:
    class Doubling(GRUBlock):
        def drop(self, y: Tensor, layer: int, key: DropoutKey | None) -> Tensor:
            return super().drop(y, layer, key) * 2

    x, h_0 = inputs(2)
    torch.manual_seed(0)
    plain = GRUBlock(WIDTH, H, 2, core=core, dtype=x.dtype, dropout=0.0, last=False)
    torch.manual_seed(0)
    own = Doubling(WIDTH, H, 2, core=core, dtype=x.dtype, dropout=0.0, last=False)
    assert not own(x, h_0)[0].equal(plain(x, h_0)[0])


def test_a_block_from_before_there_were_cores_works() -> None:
    block = GRUBlock(WIDTH, H, 2, dtype=torch.float64)
    del block.__dict__["core"]
    again = pickle.loads(pickle.dumps(block))
    assert again(*inputs(2))[0].equal(block(*inputs(2))[0])
    assert "core=auto" in repr(again)


def test_a_core_that_is_changed_later_needs_no_other_parts() -> None:
    block, given = GRUBlock(WIDTH, H, 2, dtype=torch.float64), inputs(2)
    before = block(*given)[0]
    block.core = "lean"
    assert block(*given)[0].equal(before)


def make_stack(**options: Any) -> GRUStack:
    torch.manual_seed(3)
    return GRUStack(WIDTH, H, 2, **{"dtype": torch.float64, **options})
