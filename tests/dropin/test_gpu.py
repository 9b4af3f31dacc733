"""The drop-in on CUDA: the same numbers, streams waited for, no thread that waits for itself."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_sequence
from torch.utils.checkpoint import checkpoint

from gru_parallel.dropin import gru as dropin
from gru_parallel.planning import plan_from_device_map
from tests.dropin.twins import assert_same, gradients, make_twins, make_x, weighted_sum
from tests.engine.gpu_memory import allocated_bytes

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("no_tf32")]

TWO_STAGES = "two stages on one GPU"
PLACEMENTS: dict[str, dict[str, Any]] = {
    "one GPU": {"device_map": ["cuda:0", "cuda:0"]},
    TWO_STAGES: {"device_map": ["cuda:0", "cuda:0"]},
    "one block": {"blocks": 2, "device_map": ["cuda:0"]},
    "GPU, then CPU": {"device_map": ["cuda:0", "cpu:0"]},
    "CPU, then GPU": {"device_map": ["cpu:0", "cuda:0"]},
    "CPUs": {"device_map": ["cpu:0", "cpu:1"]},
    "two GPUs": {"device_map": ["cuda:0", "cuda:1"]},
    "two GPUs, other way": {"device_map": ["cuda:1", "cuda:0"]},
}
CUT: dict[str, Any] = {"n_micro_batches": 2, "n_chunks": 3}
EVERY_PLACEMENT = pytest.mark.parametrize("placement", PLACEMENTS)
ON_THE_GPU = pytest.mark.parametrize(
    "placement", ["one GPU", TWO_STAGES, "GPU, then CPU", "two GPUs"]
)

N_STEPS = 10
"""The first few run as they are, and then one is recorded; the others are replayed."""

SLEEP_CYCLES = 20_000_000
"""Ten milliseconds at 2 GHz, which no GPU exceeds by much."""


@pytest.fixture(autouse=True)
def stages_of_their_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave blocks on one device apart, where that is the placement: a drop-in merges them."""
    if "placement" in request.fixturenames and request.getfixturevalue("placement") == TWO_STAGES:
        apart = partial(plan_from_device_map, merge=False)
        monkeypatch.setattr(dropin, "plan_from_device_map", apart)


def make_placed(placement: str, **options: Any) -> tuple[nn.GRU, nn.GRU]:
    """Make an `nn.GRU` on the CPU, and a drop-in with its weights that is placed."""
    extras = PLACEMENTS[placement]
    if "cuda:1" in extras["device_map"] and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    return make_twins({**CUT, **extras}, **options)


def run(gru: nn.GRU, device: str, *, with_h_0: bool = True) -> list[Tensor | None]:
    """Run forward and back; return outputs and all gradients."""
    x = make_x().to(device).requires_grad_()
    n_states = gru.num_layers * (2 if gru.bidirectional else 1)
    h_0 = make_x(n_states, 3, 4, seed=3).to(device).requires_grad_() if with_h_0 else None
    out = gru(x, h_0)
    assert {tensor.device for tensor in out} == {x.device}
    weighted_sum([tensor.cpu() for tensor in out]).backward()
    found = [*out, x.grad, None if h_0 is None else h_0.grad, *gradients(gru)]
    assert x.grad is not None
    assert x.grad.device == x.device
    for parameter in gru.parameters():
        assert parameter.grad is not None
        assert parameter.grad.device == parameter.device
    return found


@pytest.mark.parametrize("x_device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("with_h_0", [False, True], ids=["zeros", "h_0"])
@EVERY_PLACEMENT
def test_all_numbers_equal_those_of_nn_gru(
    placement: str, with_h_0: bool, bidirectional: bool, x_device: str
) -> None:
    plain, ours = make_placed(placement, bidirectional=bidirectional)

    found = run(ours, x_device, with_h_0=with_h_0)

    assert_same(found, run(plain, "cpu", with_h_0=with_h_0))


def test_without_a_device_map_it_runs_where_its_weights_are() -> None:
    plain, ours = make_twins(CUT)
    expected = run(plain, "cpu")

    assert_same(run(ours.cuda(), "cuda:0"), expected)
    ours.zero_grad()
    assert_same(run(ours.cpu(), "cpu"), expected)


@EVERY_PLACEMENT
def test_packed_sequences_equal_those_of_nn_gru(placement: str) -> None:
    found = []
    for gru, device in zip(make_placed(placement), ("cpu", "cuda:0"), strict=True):
        rows = [make_x(n, 3, seed=n) for n in (2, 5, 1, 3)]
        packed = pack_sequence(rows, enforce_sorted=False).to(device)
        output, h_n = gru(packed)
        weighted_sum([output.data.cpu(), h_n.cpu()]).backward()
        found.append([output.data, h_n, *gradients(gru)])

    assert_same(found[1], found[0])


@EVERY_PLACEMENT
def test_a_batch_of_no_rows_works_where_weights_are_apart(placement: str) -> None:
    _, ours = make_placed(placement)
    ours(make_x().cuda())

    y, h_n = ours(torch.empty(5, 0, 3, dtype=torch.float64, device="cuda"))
    (y.sum() + h_n.sum()).backward()

    assert (y.shape, h_n.shape) == ((5, 0, 4), (2, 0, 4))


# A thread of autograd's that waited for itself would wait for ever.
@pytest.mark.timeout(60)
@pytest.mark.parametrize("use_reentrant", [False, True])
@EVERY_PLACEMENT
def test_a_checkpoint_on_the_gpu_comes_back(placement: str, use_reentrant: bool) -> None:
    plain, ours = make_placed(placement)
    found = []
    for gru, device in ((plain, "cpu"), (ours, "cuda:0")):
        x = make_x().to(device).requires_grad_()

        def more(x: Tensor, gru: nn.GRU = gru) -> Tensor:
            return gru(x.tanh())[0].exp()

        y = checkpoint(more, x, use_reentrant=use_reentrant)
        weighted_sum_on(y).backward()
        found.append([y, x.grad, *gradients(gru)])

    assert_same(found[1], found[0])


def weighted_sum_on(y: Tensor) -> Tensor:
    """Make the loss of `weighted_sum` on the tensor's own device."""
    return (y * make_x(*y.shape, seed=7).to(y.device)).sum()


@ON_THE_GPU
def test_losses_and_weights_go_the_way_of_nn_gru(placement: str) -> None:
    found = []
    plain, ours = make_placed(placement)
    for gru, device in ((plain, "cpu"), (ours, "cuda:0")):
        torch.manual_seed(1)
        head = nn.Linear(4, 1, dtype=torch.float64).to(device)
        parameters = [*gru.parameters(), *head.parameters()]
        optimiser = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        losses = []
        for step in range(N_STEPS):
            optimiser.zero_grad()
            loss = head(gru(make_x(seed=step).to(device))[0]).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.1)
            optimiser.step()
            losses.append(loss.detach())
        found.append([*losses, *parameters])

    assert_same(found[1], found[0], tolerance=1e-10)


@ON_THE_GPU
def test_weights_that_change_or_are_none_of_its_own_are_followed(placement: str) -> None:
    found = []
    for gru, device in zip(make_placed(placement), ("cpu", "cuda:0"), strict=True):
        x = make_x().to(device)
        weight_norm(gru, "weight_hh_l0")
        first = gru(x)
        with torch.no_grad():
            gru.weight_ih_l1.mul_(0.5)
        second = gru(x)
        gru.weight_ih_l1.data = gru.weight_ih_l1.data * 0.5
        third = gru(x)
        weighted_sum([tensor.cpu() for tensor in third]).backward()
        found.append([*first, *second, *third])

    assert_same(found[1], found[0])


@ON_THE_GPU
def test_the_callers_stream_is_waited_for_and_waits(placement: str) -> None:
    plain, ours = make_placed(placement)
    expected = run(plain, "cpu")
    # Threads, kernels and places are there already.
    run(ours, "cuda:0")
    ours.zero_grad()
    torch.cuda.synchronize()
    source, states = make_x().pin_memory(), make_x(2, 3, 4, seed=3).pin_memory()

    with torch.cuda.stream(torch.cuda.Stream()):
        x, h_0 = torch.empty_like(source, device="cuda"), torch.empty_like(states, device="cuda")
        # They are filled only when the GRU has queued its work already.
        torch.cuda._sleep(SLEEP_CYCLES)
        x.copy_(source, non_blocking=True)
        h_0.copy_(states, non_blocking=True)
        y, h_n = ours(x.requires_grad_(), h_0.requires_grad_())
        # The gradients of the outputs are late, too.
        late_y, late_h_n = y * 1.0, h_n * 1.0
        late_y.register_hook(lambda gradient: (torch.cuda._sleep(SLEEP_CYCLES), gradient * 1.0)[1])
        loss = weighted_sum([late_y.cpu(), late_h_n.cpu()])
        loss.backward()
        found = [y, h_n, x.grad, h_0.grad, *gradients(ours)]
        torch.cuda.current_stream().synchronize()

    assert_same(found, expected)


def test_memory_does_not_grow_from_call_to_call() -> None:
    _, ours = make_placed("one GPU")
    x = make_x(24, 16, 3).cuda()
    allocated = []
    for _ in range(N_STEPS):
        ours.zero_grad()
        weighted_sum_on(ours(x)[0]).backward()
        allocated.append(allocated_bytes())

    assert allocated[-1] <= allocated[N_STEPS // 2]


@ON_THE_GPU
def test_it_trains_under_autocast_with_a_scaler(placement: str) -> None:
    _, ours = make_placed(placement, dtype=torch.float32)
    optimiser = torch.optim.SGD(ours.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    x, losses = make_x(dtype=torch.float32).cuda(), []
    for _ in range(5):
        optimiser.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = (ours(x)[0].float() - 0.5).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        losses.append(loss.item())

    assert losses[-1] < losses[0]


@pytest.mark.parametrize("asked", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@ON_THE_GPU
def test_under_autocast_it_computes_in_the_type_that_is_asked_for(
    placement: str, device: str, asked: torch.dtype
) -> None:
    plain, ours = make_placed(placement, dtype=torch.float32)
    x = make_x(dtype=torch.float32).requires_grad_()
    with torch.autocast("cuda", asked):
        y, h_n = ours(x.to(device))
    (y.float().sum() + h_n.float().sum()).backward()

    assert (y.dtype, h_n.dtype) == (asked, asked)
    assert {weight.grad.dtype for weight in ours.parameters()} == {torch.float32}
    assert_same([y.float(), h_n.float()], plain(x), tolerance=2**-5)
    # A small gradient stays, as bfloat16 has the range of float32.
    ours.zero_grad()
    with torch.autocast("cuda", asked):
        y, _ = ours(x.to(device))
    (y.float().sum() * 1e-12).backward()
    has_range = asked == torch.bfloat16
    assert all(bool(weight.grad.any()) == has_range for weight in ours.parameters())


def test_dropout_is_the_same_to_the_bit_however_one_gpu_is_cut() -> None:
    found = []
    for placement in ("one GPU", "one block"):
        _, ours = make_placed(placement, dropout=0.5)
        torch.manual_seed(4)
        found.append(ours(make_x().cuda())[0])

    assert torch.equal(*found)
