"""What is trained, and how many bytes its numbers have."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from gru_parallel.assembly.workload import N_STATES, n_optimizer_states, number_type, workload
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths


def config_of(*overrides: str) -> Config:
    return read_config(compose_config(overrides))


def test_a_workload_has_the_sizes_of_the_settings() -> None:
    sizes = ("data.batch_size=20", "data.input_length=30", "model.num_layers=3", "data.horizon=4")

    found = workload(config_of(*sizes), Widths(5, 2))

    assert (found.n_rows, found.n_steps, len(found.model.blocks)) == (20, 30, 3)
    assert (found.model.n_channels, found.model.n_outputs) == (5, 8)


def test_a_workload_has_the_rows_and_steps_that_the_engine_runs() -> None:
    sizes = ("data.batch_size=20", "data.input_length=30", "data.horizon=23")
    forecaster = ("model.encoder=segments", "model.segment_length=10", "model.head=decoder")

    found = workload(config_of(*sizes, *forecaster, "model.per_channel=true"), Widths(5, 5))

    assert (found.n_rows, found.n_steps, found.model.n_decoding) == (100, 3, 3)
    assert (found.model.n_channels, found.model.n_outputs) == (10, 10)
    together = workload(config_of(*sizes, *forecaster), Widths(5, 2)).model
    assert (together.n_channels, together.n_outputs) == (50, 20)


@pytest.mark.parametrize(
    ("precision", "n_bytes", "computed", "number"),
    [
        ("32-true", 4, 4, "tf32"),
        ("32", 4, 4, "tf32"),
        ("64-true", 8, 8, "float64"),
        ("bf16-mixed", 4, 2, "bfloat16"),
        ("16-mixed", 4, 2, "float16"),
        ("16", 4, 2, "float16"),
        ("bf16-true", 2, 2, "bfloat16"),
        ("16-true", 2, 2, "float16"),
    ],
)
def test_the_bytes_of_numbers_follow_the_precision(
    precision: str, n_bytes: int, computed: int, number: str
) -> None:
    # What Adam divides by is too small for float16.
    config = config_of(f"trainer.precision={precision}", "optimizer=sgd")
    found = workload(config, Widths(4, 4))

    assert (found.bytes_per_number, found.bytes_per_activation) == (n_bytes, computed)
    assert number_type(config) == number


def test_float32_is_tf32_unless_that_is_forbidden() -> None:
    assert number_type(config_of("engine.tf32=false")) == "float32"
    assert number_type(config_of("engine.tf32=true")) == "tf32"


@pytest.mark.parametrize(
    ("target", "arguments", "n_states"),
    [
        ("torch.optim.AdamW", {}, 2),
        ("torch.optim.AdamW", {"amsgrad": True}, 3),
        ("torch.optim.SGD", {}, 0),
        ("torch.optim.SGD", {"momentum": 0.0}, 0),
        ("torch.optim.SGD", {"momentum": 0.9}, 1),
        ("torch.optim.RMSprop", {}, 1),
        ("torch.optim.RMSprop", {"momentum": 0.9, "centered": True}, 3),
        ("torch.optim.Adagrad", {}, 1),
        ("package.Mine", {"momentum": 0.9}, 2),
    ],
)
def test_an_optimiser_keeps_so_many_numbers_for_each_parameter(
    target: str, arguments: dict[str, object], n_states: int
) -> None:
    assert n_optimizer_states(OmegaConf.create({"_target_": target, **arguments})) == n_states


@pytest.mark.parametrize(("option", "n_copies"), [("adamw", 4), ("adam", 4), ("sgd", 3)])
def test_weights_and_gradients_are_counted_with_the_states(option: str, n_copies: int) -> None:
    assert workload(config_of(f"optimizer={option}"), Widths(4, 4)).n_weight_copies == n_copies


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {}) for name in N_STATES),
        ("AdamW", {"amsgrad": True}),
        ("SGD", {"momentum": 0.9}),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
    ],
)
def test_the_states_are_those_that_torch_keeps(name: str, arguments: dict[str, Any]) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = getattr(torch.optim, name)([weight], lr=0.1, **arguments)
    weight.grad = torch.ones(3)
    optimizer.step()

    kept = [state for state in optimizer.state[weight].values() if is_like(state, weight)]
    settings = OmegaConf.create({"_target_": f"torch.optim.{name}", **arguments})
    assert n_optimizer_states(settings) == len(kept)


def is_like(state: object, weight: torch.Tensor) -> bool:
    return isinstance(state, torch.Tensor) and state.shape == weight.shape
