"""Checkpoints have an optimiser's state by the names of weights; those by number still load."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from gru_parallel.errors import UsageError
from gru_parallel.training.optimizer_state import by_name
from tests.builders import make_plan
from tests.grids import covering
from tests.runs import Run, SaveAfter, adamw, assert_bit_for_bit, fit, make_module

PLAN = make_plan([1, 1])
N_BEFORE = 7
"""Batches before the checkpoint: it is written in an epoch."""

MakeOptimizer = Callable[[list[nn.Parameter]], Optimizer]


def in_two_groups(weights: list[nn.Parameter]) -> Optimizer:
    matrices = [weight for weight in weights if weight.dim() > 1]
    biases = [weight for weight in weights if weight.dim() == 1]
    return AdamW([{"params": matrices}, {"params": biases, "weight_decay": 0.0}], lr=1e-2)


def backwards(weights: list[nn.Parameter]) -> Optimizer:
    return adamw(weights[::-1])


def train(make_optimizer: MakeOptimizer = adamw, plan: Any = PLAN, **options: Any) -> Run:
    return fit(plan, make_module(make_optimizer, num_layers=2), limit_val_batches=0, **options)


def save(path: Path, make_optimizer: MakeOptimizer = adamw) -> dict[str, Any]:
    """Leave a checkpoint of a run that trains on, and return what it holds."""
    train(make_optimizer, callbacks=[SaveAfter(N_BEFORE, path)])
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    return saved


def write_by_number(saved: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as earlier versions did: weights numbered through all groups."""
    (state,) = saved["optimizer_states"]
    numbers: dict[str, int] = {}
    for group in state["param_groups"]:
        for name in group["params"]:
            numbers[name] = len(numbers)
        group["params"] = [numbers[name] for name in group["params"]]
    state["state"] = {numbers[name]: kept for name, kept in state["state"].items()}
    torch.save(saved, path)


def test_the_names_are_those_of_nn_gru_in_the_state_dict(tmp_path: Path) -> None:
    saved = save(tmp_path / "some.ckpt")

    (state,) = saved["optimizer_states"]
    (group,) = state["param_groups"]
    assert set(state["state"]) == set(group["params"]) == set(saved["state_dict"])
    assert "model.gru.weight_ih_l1" in state["state"]
    for name, kept in state["state"].items():
        assert kept["exp_avg"].shape == saved["state_dict"][name].shape, name


@cache
def straight_run(make_optimizer: MakeOptimizer) -> Run:
    """The run that is never resumed."""
    return train(make_optimizer)


OPTIMIZERS: dict[str, MakeOptimizer] = {"in one group": adamw, "in two groups": in_two_groups}


@covering(
    2, form=["by name", "by number"], over=["pipeline", "plain Lightning"], weights=OPTIMIZERS
)
def test_a_run_resumed_from_either_form_is_the_uninterrupted_one(
    form: str, over: str, weights: str, tmp_path: Path
) -> None:
    path, make_optimizer = tmp_path / "some.ckpt", OPTIMIZERS[weights]
    saved = save(path, make_optimizer)
    if form == "by number":
        write_by_number(saved, path)
    straight = straight_run(make_optimizer)

    resumed = train(make_optimizer, PLAN if over == "pipeline" else None, ckpt_path=path)

    if over == "plain Lightning":
        torch.testing.assert_close(resumed.weights, straight.weights, rtol=0, atol=1e-5)
    else:
        assert torch.equal(resumed.losses, straight.losses[N_BEFORE:])
        assert all(torch.equal(straight.weights[n], w) for n, w in resumed.weights.items())


def test_the_order_of_the_weights_in_the_optimiser_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    save(path)

    resumed = train(backwards, ckpt_path=path)

    assert_bit_for_bit(resumed, train(ckpt_path=path))


def test_a_weight_in_another_group_than_before_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    saved = save(path, in_two_groups)
    first, second = saved["optimizer_states"][0]["param_groups"]
    second["params"].append(first["params"].pop(2))
    torch.save(saved, path)

    with pytest.raises(
        UsageError,
        match=r"for instance model\.\S+ is not in the same group\); train the weights that it",
    ):
        train(in_two_groups, ckpt_path=path)


def test_the_tests_above_would_see_moments_at_the_wrong_weights(tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    saved = save(path)
    state = saved["optimizer_states"][0]["state"]
    a, b = "model.gru.weight_hh_l0", "model.gru.weight_hh_l1"
    state[a], state[b] = state[b], state[a]
    torch.save(saved, path)

    straight = straight_run(adamw)
    assert not torch.equal(train(ckpt_path=path).losses, straight.losses[N_BEFORE:])


@pytest.mark.parametrize("form", ["by name", "by number"])
@pytest.mark.parametrize(("saved", "now"), [("all", "some"), ("some", "all")])
def test_an_optimiser_of_other_weights_is_refused(form: str, saved: str, now: str) -> None:
    names = {"all": [["w", "u", "v"]], "some": [["w", "u"]]}
    keys = names[saved] if form == "by name" else [list(range(len(names[saved][0])))]
    state = {"state": {}, "param_groups": [{"lr": 0.1, "params": keys[0]}]}

    with pytest.raises(UsageError, match=r"this run's groups of \d.*init_from="):
        by_name(state, names[now])


def test_an_optimiser_of_other_groups_is_refused() -> None:
    state = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}

    with pytest.raises(UsageError, match=r"has groups of 2 weights and this run's groups of 1, 1"):
        by_name(state, [["w"], ["u"]])
