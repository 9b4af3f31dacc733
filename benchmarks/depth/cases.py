"""What is compared: depths, what helps deep stacks to train, and two series. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gru_parallel.assembly.model_spec import model_spec
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.placement.cost import block_costs

DEPTHS = (1, 2, 4, 8)

LAYERS: Mapping[str, tuple[str, ...]] = {
    "plain": (),
    "residual, norm": ("model.residual=true", "model.norm=layer"),
}
"""How layers are joined, by the name that tables have for it."""


@dataclass(frozen=True)
class Task:
    """A series to forecast.

    Attributes:
        title: in tables.
        settings: overrides.
        n_columns: of the series, all of which are forecast.
        width: hidden size of one layer alone, whose parameters all depths have.
    """

    title: str
    settings: tuple[str, ...]
    n_columns: int
    width: int

    @property
    def widths(self) -> Widths:
        """Of its windows: all columns go in, and are forecast."""
        return Widths(self.n_columns, self.n_columns)


ETTH1 = Task(
    "ETTh1, 96 rows ahead",
    (
        "experiment=etth1_96",
        "schedule=one_f_one_b",
        "model.loss=mse",
        # Every second window, in 65 batches of 65, so that a run takes half a minute.
        "data.stride=2",
        "data.batch_size=65",
        # Each layer is followed by it, so that 0.5 would leave nothing of a deep stack.
        "model.dropout=0.1",
        "lr_scheduler.gamma=0.6",
        "trainer.max_epochs=4",
    ),
    n_columns=7,
    width=96,
)
LORENZ96 = Task(
    "Lorenz-96, 8 rows ahead",
    ("data=lorenz96", "optimizer=adam", "lr_scheduler=one_cycle", "trainer.max_epochs=10"),
    n_columns=8,
    width=96,
)
TASKS: Mapping[str, Task] = {"etth1": ETTH1, "lorenz96": LORENZ96}


@dataclass(frozen=True)
class Case:
    """A stack to train.

    Attributes:
        task: what it forecasts.
        depth: its layers.
        layers: how they are joined, one of `LAYERS`.
        hidden_size: features of each.
        n_parameters: of the whole model.
    """

    task: Task
    depth: int
    layers: str
    hidden_size: int
    n_parameters: int

    def settings(self, path: Path) -> list[str]:
        """Return the overrides of its run, without the seed; the path is that of ETTh1."""
        on_one_core = ",".join(["cpu:0"] * self.depth)
        return [
            *_with_path(self.task, path),
            *LAYERS[self.layers],
            f"model.num_layers={self.depth}",
            f"model.hidden_size={self.hidden_size}",
            f"placement.device_map=[{on_one_core}]",
            "schedule.n_micro_batches=1",
            "schedule.n_chunks=1",
        ]


def case_of(task: Task, depth: int, layers: str) -> Case:
    """Give a stack the hidden size that comes closest to the parameters of one plain layer."""
    config = _config(task, layers)
    wanted = _n_parameters(_config(task, "plain"), task, 1, task.width)
    n_parameters = {
        size: _n_parameters(config, task, depth, size) for size in range(1, task.width + 1)
    }
    size = min(n_parameters, key=lambda size: abs(n_parameters[size] - wanted))
    return Case(task, depth, layers, size, n_parameters[size])


@cache
def _config(task: Task, layers: str) -> Config:
    return read_config(compose_config([*_with_path(task, Path("any.csv")), *LAYERS[layers]]))


def _with_path(task: Task, path: Path) -> Sequence[str]:
    return [*task.settings, f"data.path={path}"] if task is ETTH1 else list(task.settings)


def _n_parameters(config: Config, task: Task, depth: int, size: int) -> int:
    model = replace(config.model, num_layers=depth, hidden_size=size)
    spec = model_spec(replace(config, model=model), task.widths)
    return sum(cost.n_parameters for cost in block_costs(spec, 1, 1))
