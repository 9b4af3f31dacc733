"""Copies, pickles, state dicts, and weights that change, move, or are not parameters at all."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.parametrizations import weight_norm

from gru_parallel import GRU
from gru_parallel.dropin import gru as module
from tests.dropin.twins import (
    CUTS,
    TWO_CPUS,
    assert_same,
    gradients,
    make_twins,
    make_x,
    refusal,
    weighted_sum,
)


def through_a_file(thing: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **options)


COPIES: dict[str, Callable[[GRU], GRU]] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda gru: pickle.loads(pickle.dumps(gru)),
    "torch.save": lambda gru: through_a_file(gru, weights_only=False),
    "from_torch": lambda gru: GRU.from_torch(gru, **TWO_CPUS),
}


@pytest.mark.parametrize("has_run", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("make_copy", COPIES)
def test_a_copy_computes_the_same_with_workers_of_its_own(make_copy: str, has_run: bool) -> None:
    plain, ours = make_twins(TWO_CPUS, bidirectional=True)
    x = make_x()
    if has_run:
        ours(x)

    twin = COPIES[make_copy](ours)

    assert_same(twin(x), plain(x))
    assert repr(twin) == repr(ours)
    assert twin._stack is not ours._stack
    assert_same(ours(x), plain(x))


def test_a_deep_copy_is_trained_apart() -> None:
    plain, ours = make_twins(TWO_CPUS)
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        twin.weight_ih_l0.zero_()

    assert_same(ours(make_x()), plain(make_x()))
    assert refusal(lambda: assert_same(twin(make_x()), plain(make_x())))[0] is AssertionError


STATES: dict[str, dict[str, Any]] = {
    "one way": {"num_layers": 3},
    "both ways": {"bidirectional": True},
    "no bias": {"bias": False},
}


@pytest.mark.parametrize("options", STATES)
def test_state_dicts_fit_nn_gru_key_for_key(options: str) -> None:
    plain, _ = make_twins(**STATES[options])
    _, ours = make_twins({"n_chunks": 2}, seed=5, **STATES[options])

    assert list(ours.state_dict()) == list(plain.state_dict())
    assert str(ours.load_state_dict(plain.state_dict())) == "<All keys matched successfully>"
    assert_same(ours(make_x()), plain(make_x()))

    _, ours = make_twins(seed=6, **STATES[options])
    plain.load_state_dict(through_a_file(ours.state_dict()))
    assert_same(ours(make_x()), plain(make_x()))


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_dict_is_loaded_between_calls(assign: bool) -> None:
    plain, _ = make_twins(seed=5)
    _, ours = make_twins(TWO_CPUS)
    ours(make_x())

    ours.load_state_dict(plain.state_dict(), assign=assign)

    assert_same(ours(make_x()), plain(make_x()))


def test_state_dicts_that_do_not_fit_are_refused_as_by_nn_gru() -> None:
    plain, ours = make_twins(TWO_CPUS)
    states: list[dict[str, Tensor]] = [
        {**plain.state_dict(), "more": torch.ones(1)},
        {name: t for name, t in plain.state_dict().items() if name != "bias_hh_l1"},
        nn.GRU(3, 5, 2).state_dict(),
        nn.GRU(3, 4, 3).state_dict(),
    ]
    for state in states:
        assert refusal(lambda s=state: ours.load_state_dict(s)) == refusal(
            lambda s=state: plain.load_state_dict(s)
        )


def test_to_torch_and_back_keep_weights_mode_and_what_is_frozen() -> None:
    _, ours = make_twins(TWO_CPUS, batch_first=True, bidirectional=True, bias=False)
    ours.weight_hh_l1.requires_grad_(False)
    ours.eval()
    before = torch.get_rng_state()

    plain = ours.to_torch()
    again = GRU.from_torch(plain, n_chunks=2)

    assert type(plain) is nn.GRU
    assert torch.equal(torch.get_rng_state(), before)
    for gru in (plain, again):
        assert_same(gru(make_x()), ours(make_x()))
        assert not gru.training
        frozen = [name for name, p in gru.named_parameters() if not p.requires_grad]
        assert frozen == ["weight_hh_l1"]
    assert plain.weight_ih_l0.data_ptr() != ours.weight_ih_l0.data_ptr()


@pytest.mark.parametrize(
    "change",
    [
        lambda gru: gru.float(),
        lambda gru: gru.to(torch.bfloat16),
        lambda gru: gru.float().double(),
        lambda gru: gru.share_memory(),
        lambda gru: gru.requires_grad_(False),
        lambda gru: gru.flatten_parameters(),
        lambda gru: gru.eval(),
    ],
    ids=["float", "bfloat16", "there and back", "shared", "frozen", "flattened", "eval"],
)
@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_a_module_changes_between_calls_as_nn_gru_does(
    cut: str, change: Callable[[nn.GRU], object]
) -> None:
    found = []
    for gru in make_twins(CUTS[cut]):
        gru(make_x())
        change(gru)
        x = make_x().to(gru.weight_ih_l0.dtype).requires_grad_()
        out = gru(x)
        weighted_sum([t.double() for t in out]).backward()
        found.append([*out, x.grad, *gradients(gru)])

    assert_same(*found, tolerance=8 * torch.finfo(found[0][0].dtype).eps)


def test_a_module_made_on_no_device_is_filled_later() -> None:
    plain, _ = make_twins()
    sizes: dict[str, Any] = {"num_layers": 2, "device": "meta", "dtype": torch.float64}
    ours = GRU(3, 4, **sizes, **TWO_CPUS)

    ours.to_empty(device="cpu").load_state_dict(plain.state_dict())

    assert_same(ours(make_x()), plain(make_x()))


def change_in_place(gru: nn.GRU) -> None:
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.mul_(0.5)


def replace_data(gru: nn.GRU) -> None:
    for parameter in gru.parameters():
        parameter.data = parameter.data * 0.5


def replace_a_parameter(gru: nn.GRU) -> None:
    gru.weight_hh_l1 = nn.Parameter(gru.weight_hh_l1.detach() * 0.5)


def freeze_one(gru: nn.GRU) -> None:
    gru.bias_ih_l0.requires_grad_(False)


def fill_from_a_vector(gru: nn.GRU) -> None:
    vector_to_parameters(parameters_to_vector(gru.parameters()) * 0.5, gru.parameters())


def draw_anew(gru: nn.GRU) -> None:
    torch.manual_seed(3)
    gru.reset_parameters()


def tie(gru: nn.GRU) -> None:
    gru.weight_hh_l1 = gru.weight_hh_l0


CHANGES = (
    change_in_place,
    replace_data,
    replace_a_parameter,
    freeze_one,
    fill_from_a_vector,
    draw_anew,
    tie,
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_weights_of_the_moment_are_used(cut: str, change: Callable[[nn.GRU], None]) -> None:
    found = []
    for gru in make_twins(CUTS[cut]):
        gru(make_x())
        change(gru)
        out = gru(make_x())
        weighted_sum(out).backward()
        found.append([*out, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_other_weights_than_its_own_can_be_used_for_a_call(cut: str) -> None:
    found = []
    for gru in make_twins(CUTS[cut]):
        own = gru(make_x())
        scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        others = {name: p.detach() * scale for name, p in gru.named_parameters()}
        out = torch.func.functional_call(gru, others, (make_x(),))
        # The call in between must not disturb what belongs to the one before.
        after = gru(make_x())
        weighted_sum(out).backward()
        found.append([*own, *out, *after, scale.grad, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("cut", ["in one piece", "two devices"])
def test_a_parametrized_weight_is_trained_as_in_nn_gru(cut: str) -> None:
    found: list[list[object]] = []
    for gru in make_twins(CUTS[cut]):
        weight_norm(gru, "weight_hh_l0")
        optimiser = torch.optim.SGD(gru.parameters(), lr=0.1)
        losses = []
        for _ in range(3):
            optimiser.zero_grad()
            losses.append(weighted_sum(gru(make_x())))
            losses[-1].backward()
            optimiser.step()
        found.append([*losses, *gradients(gru), *gru.parameters()])

    assert_same(found[1], found[0])


def test_a_parametrized_gru_becomes_a_plain_one() -> None:
    _, ours = make_twins(TWO_CPUS)
    weight_norm(ours, "weight_hh_l0")

    assert_same(ours.to_torch()(make_x()), ours(make_x()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device_map", {"0-1": "cpu:2"}),
        ("device_map", None),
        ("blocks", 2),
        ("n_chunks", 5),
        ("n_micro_batches", 3),
        ("schedule", "one_f_one_b"),
    ],
)
def test_it_can_be_cut_otherwise_between_calls(name: str, value: object) -> None:
    plain, ours = make_twins(TWO_CPUS)
    ours(make_x())
    before = ours._stack
    if name == "blocks":
        ours.device_map = ["cpu:0"]

    setattr(ours, name, value)

    assert_same(ours(make_x()), plain(make_x()))
    assert ours._stack is not before


def test_it_is_an_nn_gru_and_looks_like_one() -> None:
    plain, ours = make_twins(TWO_CPUS, bias=False, batch_first=True)

    assert isinstance(ours, nn.GRU)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [""]
    assert_same(ours.all_weights, plain.all_weights)
    assert repr(ours).startswith(repr(plain)[:-1])
    assert "device_map=['cpu:0', 'cpu:1'], n_micro_batches=1, n_chunks=3" in repr(ours)


@pytest.mark.parametrize(
    ("device_map", "n_chunks"),
    [
        (None, 1),
        (["cpu:0", "cpu:1"], 8),
        (["cuda:0", "cuda:0"], 1),
        (["cuda:0", "cuda:1"], 8),
        ("auto", 1),
    ],
)
def test_the_devices_decide_how_many_chunks_there_are(
    device_map: Any, n_chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = ("cuda:0", "cuda:1")
    monkeypatch.setattr(module, "existing_devices", lambda: (*gpus, "cpu:0", "cpu:1"))
    monkeypatch.setattr(module, "default_devices", lambda: gpus[:1])
    assert GRU(3, 4, 2, device_map=device_map).n_chunks == n_chunks
    assert GRU(3, 4, 2, device_map=device_map, n_chunks=3).n_chunks == 3


def test_a_weight_laid_out_anew_in_the_same_memory_is_seen() -> None:
    theirs, ours = make_twins(TWO_CPUS)
    x = make_x()
    ours(x)

    for gru in (theirs, ours):
        weight = gru.weight_hh_l1
        weight.data = weight.data.reshape(weight.shape[::-1]).t()

    assert_same(ours(x)[0], theirs(x)[0])
