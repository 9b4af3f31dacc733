"""What is put around recurrent nets, by public reports: counters, casts, copies in parallel."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from gru_parallel import GRU
from tests.dropin.twins import (
    BATCH,
    CUTS,
    FEATURES,
    HIDDEN,
    N_STEPS,
    assert_same,
    cut_or_whole,
    gradients,
    make_twins,
    make_x,
    refusal,
    weighted_sum,
)

Use = Callable[[nn.GRU], object]
PRODUCTS = [torch.ops.aten.addmm.default, torch.ops.aten.mm.default]
TWO_CUTS = pytest.mark.parametrize("cut", ["in one piece", "two devices, zero bubble"])


class Marked(torch.Tensor):
    """A kind of tensor."""


class Counter(TorchDispatchMode):
    """Counts the elements that matrix products give out, however they are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.n_elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.addmm:
            self.n_elements += out.numel()
        return out


def autocast_switched_off_inside(gru: nn.GRU) -> object:
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.autocast("cpu", enabled=False):
        y, h_n = gru(make_x())
        return [y, h_n, y.dtype, h_n.dtype]


def autocast_of_double(gru: nn.GRU) -> object:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, h_n = gru(make_x())
    return [y, h_n, y.dtype, h_n.dtype]


def tensors_of_a_class_of_ones_own(gru: nn.GRU) -> object:
    y, h_n = gru(make_x().as_subclass(Marked))
    return [y, h_n]


def a_vector_times_the_jacobian(gru: nn.GRU) -> object:
    state = make_x(2, BATCH, HIDDEN)
    return torch.autograd.functional.vjp(lambda x: gru(x)[1], make_x(), state)


def a_jacobian_all_at_once(gru: nn.GRU) -> object:
    jacobian = torch.autograd.functional.jacobian
    n_states = gru.num_layers * (2 if gru.bidirectional else 1)
    return jacobian(gru, (make_x(), make_x(n_states, BATCH, HIDDEN)), vectorize=True)


def gradients_in_a_batch(gru: nn.GRU) -> object:
    x = make_x().requires_grad_()
    y, _ = gru(x)
    return torch.autograd.grad(y, [x], make_x(2, *y.shape), is_grads_batched=True)


def numbers_that_check_its_gradients(gru: nn.GRU) -> object:
    x, h_0 = make_x().requires_grad_(), make_x(2, BATCH, HIDDEN).requires_grad_()
    return torch.autograd.gradcheck(lambda x, h: gru(x, h), (x, h_0), fast_mode=True)


def a_mode_that_counts(gru: nn.GRU) -> object:
    with Counter() as counter:
        loss = weighted_sum(gru(make_x()))
    loss.backward()
    return [loss, *gradients(gru), counter.n_elements]


def a_mode_around_functions(gru: nn.GRU) -> object:
    class Passing(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return func(*args, **(kwargs or {}))

    with Passing():
        loss = weighted_sum(gru(make_x()))
        loss.backward()
    return [loss, *gradients(gru)]


def operations_counted(gru: nn.GRU) -> object:
    with FlopCounterMode(display=False) as counter:
        loss = weighted_sum(gru(make_x().requires_grad_()))
        loss.backward()
    return [loss, counter.get_total_flops(), sorted(counter.get_flop_counts())]


def tensors_without_data(gru: nn.GRU) -> object:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y, h_n = gru(mode.from_tensor(make_x()))
    return [y.shape, h_n.shape, type(y)]


def a_compiled_one(gru: nn.GRU) -> object:
    try:
        return torch.compile(gru, backend="eager")(make_x())
    finally:
        torch.compiler.reset()


def one_in_data_parallel(gru: nn.GRU) -> object:
    loss = weighted_sum(nn.DataParallel(gru, device_ids=[])(make_x()))
    loss.backward()
    return [loss, *gradients(gru)]


def one_that_is_subclassed(gru: nn.GRU) -> object:
    class Summing(type(gru)):
        def forward(self, x: Tensor) -> Tensor:
            y, h_n = super().forward(x)
            return y.sum() + h_n.sum()

    torch.manual_seed(4)
    own = Summing(FEATURES, HIDDEN, 2, dtype=torch.float64)
    loss = own(make_x())
    loss.backward()
    return [loss, *gradients(own)]


def a_net_of_two(gru: nn.GRU) -> object:
    torch.manual_seed(4)
    second = type(gru)(HIDDEN, HIDDEN, 2, dtype=torch.float64)
    loss = weighted_sum(second(*gru(make_x())))
    loss.backward()
    return [loss, *gradients(gru), *gradients(second)]


USES: tuple[Use, ...] = (
    autocast_switched_off_inside,
    autocast_of_double,
    tensors_of_a_class_of_ones_own,
    a_vector_times_the_jacobian,
    a_jacobian_all_at_once,
    gradients_in_a_batch,
    numbers_that_check_its_gradients,
    a_mode_that_counts,
    a_mode_around_functions,
    operations_counted,
    tensors_without_data,
    a_compiled_one,
    one_in_data_parallel,
    one_that_is_subclassed,
    a_net_of_two,
)


@cut_or_whole("use", USES)
def test_it_bears_around_it_what_nn_gru_bears(cut: str, use: Use) -> None:
    plain, ours = make_twins(CUTS[cut])

    expected, actual = use(plain), use(ours)

    assert_same(actual, expected)


@pytest.mark.parametrize(
    "use", [a_jacobian_all_at_once, gradients_in_a_batch], ids=["jacobian", "in a batch"]
)
@TWO_CUTS
def test_both_directions_bear_gradients_in_a_batch(cut: str, use: Use) -> None:
    plain, ours = make_twins(CUTS[cut], bidirectional=True)

    expected, actual = use(plain), use(ours)

    assert_same(actual, expected)


def test_one_layer_bears_gradients_of_its_state_in_a_batch() -> None:
    plain, ours = make_twins(num_layers=1)

    expected, actual = a_jacobian_all_at_once(plain), a_jacobian_all_at_once(ours)

    assert_same(actual, expected)


@pytest.mark.parametrize("asked", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("of_state", [None, torch.float32, torch.bfloat16], ids=str)
@TWO_CUTS
def test_under_autocast_it_gives_out_its_type_and_gradients_as_they_were(
    cut: str, of_state: torch.dtype | None, asked: torch.dtype
) -> None:
    plain, ours = (gru.float() for gru in make_twins(CUTS[cut]))
    found = []
    for gru, is_on in ((ours, True), (plain, False)):
        x = make_x().float().requires_grad_()
        h_0 = None if of_state is None else make_x(2, BATCH, HIDDEN).to(of_state).requires_grad_()
        with torch.autocast("cpu", dtype=asked, enabled=is_on):
            y, h_n = gru(x, h_0 if is_on or h_0 is None else h_0.float())
        if is_on:
            assert {y.dtype, h_n.dtype} == {asked}
        weighted_sum([y.float(), h_n.float()]).backward()
        inputs = [x] if h_0 is None else [x, h_0]
        assert [t.grad.dtype for t in inputs if t.grad is not None] == [t.dtype for t in inputs]
        assert {weight.grad.dtype for weight in gru.parameters()} == {torch.float32}
        found.append([y.float(), h_n.float(), *(t.grad.float() for t in inputs), *gradients(gru)])

    assert_same(*found, tolerance=2**-5)


def windows_whose_state_is_not_detached(gru: nn.GRU) -> object:
    h = None
    for seed in (1, 2):
        y, h = gru(make_x(seed=seed), h)
        y.sum().backward()
    return h


def a_kept_graph_and_a_step_of_the_optimiser(gru: nn.GRU) -> object:
    optimiser = torch.optim.SGD(gru.parameters(), lr=0.1)
    h = None
    for seed in (1, 2):
        y, h = gru(make_x(seed=seed), h)
        y.sum().backward(retain_graph=True)
        optimiser.step()
    return h


def an_input_changed_before_backward(gru: nn.GRU) -> object:
    x = make_x()
    y, _ = gru(x)
    x.mul_(2.0)
    return y.sum().backward()


def a_state_changed_before_backward(gru: nn.GRU) -> object:
    h_0 = make_x(2, BATCH, HIDDEN)
    y, _ = gru(make_x(), h_0)
    h_0.zero_()
    return y.sum().backward()


def an_input_made_in_inference_mode(gru: nn.GRU) -> object:
    with torch.inference_mode():
        x = make_x() * 1.0
    return gru(x)


def a_state_made_in_inference_mode(gru: nn.GRU) -> object:
    with torch.inference_mode():
        h_0 = make_x(2, BATCH, HIDDEN) * 1.0
    return gru(make_x(), h_0)


def outputs_changed_that_are_inference_tensors(gru: nn.GRU) -> object:
    with torch.inference_mode():
        y, _ = gru(make_x())
    return y.requires_grad_()


def a_layer_after_it_that_takes_a_tensor(gru: nn.GRU) -> object:
    return nn.Sequential(gru, nn.Linear(HIDDEN, 1))(make_x())


def backward_of_what_is_no_scalar(gru: nn.GRU) -> object:
    return gru(make_x())[0].backward()


def not_a_number_under_anomaly_detection(gru: nn.GRU) -> object:
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly():
        return (gru(make_x())[0].sum() * float("nan")).backward()


def a_half_input(gru: nn.GRU) -> object:
    return gru(make_x().half())


def a_conversion_to_whole_numbers(gru: nn.GRU) -> object:
    return gru.to(torch.int32)


def gradients_of_what_was_not_used(gru: nn.GRU) -> object:
    return torch.autograd.grad(gru(make_x())[0].sum(), [nn.Parameter(make_x(2))])


REFUSED: tuple[Use, ...] = (
    windows_whose_state_is_not_detached,
    a_kept_graph_and_a_step_of_the_optimiser,
    an_input_changed_before_backward,
    a_state_changed_before_backward,
    an_input_made_in_inference_mode,
    a_state_made_in_inference_mode,
    outputs_changed_that_are_inference_tensors,
    a_layer_after_it_that_takes_a_tensor,
    backward_of_what_is_no_scalar,
    not_a_number_under_anomaly_detection,
    a_half_input,
    a_conversion_to_whole_numbers,
    gradients_of_what_was_not_used,
)


@cut_or_whole("use", REFUSED)
def test_what_nn_gru_refuses_it_refuses_in_the_same_words(cut: str, use: Use) -> None:
    plain, ours = make_twins(CUTS[cut])
    wanted, expected = refusal(lambda: use(plain))

    found, actual = refusal(lambda: use(ours))

    # The sizes that may follow are those of a cell.
    assert (found, actual[:80]) == (wanted, expected[:80])


@pytest.fixture
def one_rank() -> Iterator[None]:
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_as_bucket_view": True}, {"find_unused_parameters": True}],
    ids=["plain", "bucket views", "unused parameters"],
)
@TWO_CUTS
def test_in_distributed_data_parallel_it_is_trained_as_nn_gru(
    cut: str, options: dict[str, Any], one_rank: None
) -> None:
    found = []
    for gru in make_twins(CUTS[cut]):
        model = nn.parallel.DistributedDataParallel(gru, **options)
        with model.no_sync():
            weighted_sum(model(make_x())).backward()
        weighted_sum(model(make_x(seed=3))).backward()
        found.append(gradients(gru))

    assert_same(*found)


@TWO_CUTS
def test_it_equals_a_loop_over_cells(cut: str) -> None:
    _, ours = make_twins(CUTS[cut])
    cells = []
    for k, width in enumerate((FEATURES, HIDDEN)):
        cell = nn.GRUCell(width, HIDDEN, dtype=torch.float64)
        named = {name: getattr(ours, f"{name}_l{k}") for name in cell.state_dict()}
        cell.load_state_dict(named)
        cells.append(cell)
    states = [make_x(BATCH, HIDDEN, seed=k) for k in range(2)]
    y, h_n = ours(make_x(), torch.stack(states))
    outputs = []
    for x in make_x():
        for k, cell in enumerate(cells):
            states[k] = x = cell(x, states[k])
        outputs.append(x)

    assert_same([y, h_n], [torch.stack(outputs), torch.stack(states)])


@pytest.mark.parametrize("extras", [{}, {"device_map": ["cpu:0+cpu:2", "cpu:1+cpu:3"]}])
def test_operations_of_both_directions_are_counted(extras: dict[str, Any]) -> None:
    counts = []
    for gru in make_twins(extras, bidirectional=True):
        with FlopCounterMode(display=False) as counter:
            gru(make_x().requires_grad_())
        counts.append(counter.get_total_flops())

    assert counts[0] == counts[1] > 0


def n_products(gru: nn.GRU, **options: Any) -> int:
    gru(make_x())
    with profile(**options) as profiler:
        gru(make_x())
    return sum(event.count for event in profiler.key_averages() if event.key == "aten::addmm")


# The profiler tells of its own deprecated parts.
@pytest.mark.filterwarnings("ignore")
def test_a_profile_of_all_threads_shows_the_products_of_every_device() -> None:
    every_thread = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    plain, ours = make_twins({"device_map": ["cpu:0", "cpu:1"], "n_chunks": 1, "core": "native"})
    one, two = n_products(plain), n_products(ours, experimental_config=every_thread)

    assert one == two == 2 * (N_STEPS + 1)


@TWO_CUTS
def test_a_selective_checkpoint_changes_no_gradient(cut: str) -> None:
    # Around nn.GRU on the CPU it does: the products that it keeps are changed in place.
    plain, ours = make_twins(CUTS[cut])
    contexts = partial(create_selective_checkpoint_contexts, PRODUCTS)
    found = []
    for gru, options in ((ours, {"context_fn": contexts}), (plain, {})):
        x = make_x().requires_grad_()
        out = checkpoint(lambda x, g=gru: g(x.tanh()), x, use_reentrant=False, **options)
        weighted_sum(out).backward()
        found.append([*out, x.grad, *gradients(gru)])

    assert_same(*found)


def test_where_kept_tensors_may_change_it_is_refused_and_points_to_nn_gru() -> None:
    _, ours = make_twins(CUTS["in the caller's thread"])
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        found, message = refusal(lambda: ours(make_x()))

    assert found is RuntimeError
    assert "allow_mutation_on_saved_tensors" in message
    assert "GRU.to_torch()" in message


# torch's own: this quantization is on its way out.
@pytest.mark.filterwarnings("ignore")
def test_its_nn_gru_is_quantized_as_any_other() -> None:
    plain, ours = make_twins(CUTS["two devices"], dtype=torch.float32)
    x = make_x(dtype=torch.float32)
    quantize = torch.ao.quantization.quantize_dynamic
    models = [nn.Sequential(gru) for gru in (plain, ours.to_torch(), ours)]
    first, second, passed_over = (quantize(model, {nn.GRU}) for model in models)

    assert_same(second(x), first(x))
    assert isinstance(passed_over[0], GRU)
