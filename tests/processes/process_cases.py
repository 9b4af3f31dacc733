"""What the processes engine is tried on: one list for the ranks that run it and for the tests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gru_parallel.engine.engine import Engine
from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.model import StackModel, Windows
from gru_parallel.placement import Plan
from tests.builders import HIDDEN, N_TARGETS, build_model, make_batch, make_plan
from tests.engine.twists import OF_RANKS, OF_REPLICAS
from tests.forecasters import build_forecaster, make_windows

LEARNING_RATE = 0.1
SEED = 7
MAX_NORM = 0.05
"""Small enough to clip in every step."""

Numbers = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A plan, a model and some batches.

    Attributes:
        blocks: blocks of each stage.
        schedule: by name.
        grid: micro-batches and chunks.
        devices: of the stages; None for one rank per stage.
        truncate: see `Plan`.
        recompute: see `Plan`; what ranks are compared with never runs F again.
        model: options of `build_model`, or of `build_forecaster`.
        forecasts: whether the model is one of `build_forecaster`.
        batch_sizes: rows of the batches that are trained on, one after the other.
        lengths: time steps of the rows, as many as the largest batch has; None where all are whole.
        gives_h_0: whether batches bring an h_0.
        scaled: whether predictions are multiplied by a scale of their windows.
        shares: rows of a full batch that each replica takes.
        frozen: the start of the names of weights that are not trained.
        autocast: whether blocks run in bfloat16.
        graphs: whether ranks replay all calls but the first of a kind; what they are compared with
            never does.
        measured: whether one step more is taken, and timed.
    """

    blocks: Sequence[int] = (2, 2)
    schedule: str = "one_f_one_b"
    grid: tuple[int, int] = (2, 3)
    devices: Sequence[str] | None = None
    truncate: int | None = None
    recompute: str = "none"
    model: Mapping[str, Any] = field(default_factory=dict)
    forecasts: bool = False
    batch_sizes: Sequence[int] = (5, 3)
    lengths: Sequence[int] | None = None
    gives_h_0: bool = False
    scaled: bool = False
    shares: Sequence[int] = (5,)
    frozen: str | None = None
    autocast: bool = False
    graphs: bool = False
    measured: bool = False

    @property
    def plan(self) -> Plan:
        return make_plan(
            self.blocks,
            self.schedule,
            *self.grid,
            devices=self.devices,
            truncate=self.truncate,
            recompute=self.recompute,
        )

    def build_model(self) -> StackModel:
        model = (build_forecaster if self.forecasts else build_model)(**self.model)
        for name, weight in model.named_parameters():
            if self.frozen is not None and name.startswith(self.frozen):
                weight.requires_grad_(False)
        return model

    def rows(self, replica: int) -> slice:
        """The rows of a full batch that a replica takes."""
        start, stop = list(pairwise(accumulate(self.shares, initial=0)))[replica]
        return slice(start, stop)

    def batch(self, step: int, rows: slice = slice(None)) -> dict[str, Any]:
        """What `train_step` takes, of some rows."""
        n_rows, dtype = self.batch_sizes[step], self.dtype
        every_step = self.model.get("every_step", False)
        if self.forecasts:
            x, y = make_windows(n_rows, dtype=dtype, seed=step)
        else:
            x, y = make_batch(n_rows, every_step=every_step, dtype=dtype, seed=step)
        batch: dict[str, Any] = {"x": x[rows], "y": y[rows]}
        if self.lengths is not None:
            lengths = batch["lengths"] = torch.tensor(self.lengths[:n_rows])[rows]
            # Windows come as long as the longest of them.
            longest = max(lengths.tolist(), default=x.shape[1])
            batch["x"] = batch["x"][:, :longest]
            batch["y"] = batch["y"][:, :longest] if every_step else batch["y"]
        if self.gives_h_0:
            n_states = 4 * (1 + self.model.get("bidirectional", False))
            generator = torch.Generator().manual_seed(step)
            shape = (n_states, n_rows, HIDDEN)
            h_0 = torch.randn(shape, generator=generator, dtype=dtype)[:, rows]
            batch["h_0"] = h_0.requires_grad_()
        if self.scaled:
            scale = 1 + torch.arange(n_rows * N_TARGETS, dtype=dtype).reshape(-1, 1, N_TARGETS)
            batch["scale"] = scale[rows]
        if "carry" in self.model.get("h_0", ""):
            before = self.batch_sizes[step - 1] if step > 0 else 0
            # Row 1 begins anew, as do those that the batch before has not.
            reset = [row == 1 or row >= before for row in range(n_rows)]
            batch["reset"] = torch.tensor(reset)[rows]
        return batch

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.get("dtype", torch.float64)
        return dtype

    def precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.autocast else nullcontext()


@dataclass(frozen=True)
class Outcome:
    """What one rank found in one case.

    Attributes:
        numbers: see `train`.
        nonfinite: see `first_nonfinite_stages`.
        actions: for each stage, what the measured times of a step are of; none for a case that is
            not measured.
        n_rows: of the last batch.
    """

    numbers: Numbers
    nonfinite: list[int | None]
    actions: list[list[str]]
    n_rows: int


def path_of(folder: Path, name: str, rank: int) -> Path:
    return folder / f"{re.sub(r'[^a-z0-9]+', '_', name)}.{rank}.pt"


ALTERNATING = ("cpu:0", "cpu:1", "cpu:0", "cpu:1")
PAIRED = ("cpu:0", "cpu:0", "cpu:1", "cpu:1")
RAGGED = (3, 7, 1, 7, 2)
"""In three chunks or more some are empty."""

FLOAT32: dict[str, Any] = {"dtype": torch.float32}
DROPOUT: dict[str, Any] = {"dropout": 0.3, **FLOAT32}
CARRY: dict[str, Any] = {"h_0": ("carry", "zeros", "learned", "carry")}
PREVIOUS: dict[str, Any] = {"h_0": ("zeros", "previous", "previous", "learned")}

ONE_PIPELINE = {
    f"{schedule}, {n_micro_batches} x {n_chunks}, {name}": Case(
        blocks, schedule, (n_micro_batches, n_chunks), lengths=lengths, model=DROPOUT
    )
    for schedule in ("gpipe", "one_f_one_b", "zero_bubble", "naive")
    for blocks, n_micro_batches, n_chunks, lengths, name in (
        ((2, 2), 1, 1, None, "whole"),
        ((3, 1), 2, 3, None, "whole"),
        ((1, 3), 5, 7, RAGGED, "ragged"),
    )
}
"""Two ranks and one replica."""

ONE_PIPELINE |= {
    "more micro-batches than rows": Case(grid=(9, 2), model=DROPOUT),
    "every step": Case(model={"every_step": True, **DROPOUT}),
    "every step, ragged": Case(model={"every_step": True, **DROPOUT}, lengths=RAGGED),
    "given h_0, whole": Case(model=DROPOUT, gives_h_0=True),
    "carried": Case(model={**CARRY, **DROPOUT}, batch_sizes=(5, 3, 5)),
    "carried, ragged, alternating": Case(
        (1, 1, 1, 1), devices=ALTERNATING, model=CARRY, lengths=RAGGED, batch_sizes=(5, 3, 5)
    ),
    "previous": Case(model={**PREVIOUS, **DROPOUT}),
    "previous, ragged": Case(model=PREVIOUS, lengths=RAGGED, schedule="gpipe"),
    "previous, alternating": Case((1, 1, 1, 1), devices=ALTERNATING, model=PREVIOUS),
    "bidirectional": Case(model={"bidirectional": True, **DROPOUT}),
    "bidirectional, ragged, given h_0": Case(
        model={"bidirectional": True}, lengths=RAGGED, gives_h_0=True, schedule="naive"
    ),
    "first blocks bidirectional": Case(
        (2, 1, 1),
        devices=("cpu:0", "cpu:1", "cpu:0"),
        model={"bidirectional": (True, True, False, False), **DROPOUT},
        lengths=RAGGED,
    ),
    "two devices a stage": Case(
        devices=("cpu:0+cpu:2", "cpu:1+cpu:3"), model={"bidirectional": True, **DROPOUT}
    ),
    "truncated": Case(grid=(2, 5), truncate=2, model=DROPOUT, measured=True),
    "truncated at every chunk, ragged": Case(grid=(2, 4), truncate=1, lengths=RAGGED),
    "recomputed": Case(recompute="cell", model={"every_step": True, **DROPOUT}, lengths=RAGGED),
    "alternating": Case((1, 1, 1, 1), devices=ALTERNATING, model=DROPOUT, measured=True),
    "alternating, naive": Case(
        (1, 1, 1, 1), "naive", devices=ALTERNATING, model=DROPOUT, measured=True
    ),
    "paired": Case((1, 1, 1, 1), "gpipe", (3, 4), devices=PAIRED, model=DROPOUT),
    "native": Case(model={"core": "native", **DROPOUT}),
    "lean, zero bubble": Case(
        (1, 3), "zero_bubble", (2, 3), lengths=RAGGED, model={"core": "lean", **DROPOUT}
    ),
    "residuals and norms": Case(
        model={"residual": True, "norm": "layer", **DROPOUT}, schedule="zero_bubble", lengths=RAGGED
    ),
    "residuals and norms in bfloat16": Case(
        model={"residual": True, "norm": "layer", **FLOAT32}, autocast=True
    ),
    "scaled": Case(scaled=True, batch_sizes=(5, 3)),
    "frozen first stage": Case(model=FLOAT32, frozen="gru.blocks.1."),
    "bfloat16": Case(model=FLOAT32, autocast=True),
    "replayed": Case(model=DROPOUT, batch_sizes=(5, 5, 5), graphs=True),
    "SegRNN": Case((1, 3), grid=(2, 3), model=DROPOUT, forecasts=True),
    "SegRNN, carried": Case(
        (1, 3), model={**CARRY, **DROPOUT}, forecasts=True, batch_sizes=(5, 3, 5)
    ),
    "replayed, previous, paired": Case(
        (1, 1, 1, 1), devices=PAIRED, model=PREVIOUS, batch_sizes=(5, 5, 5), graphs=True
    ),
}

REPLICAS_OF_ONE_RANK = {
    "equal shares": Case((4,), grid=(1, 3), batch_sizes=(4, 4), shares=(2, 2)),
    "unequal shares of two stages": Case(
        (2, 2), devices=("cpu:0", "cpu:0"), shares=(3, 2), batch_sizes=(5, 4)
    ),
}
"""Two ranks, each a whole pipeline."""

FOUR_STAGES = {
    "four stages": Case((1, 1, 1, 1), grid=(3, 4), model=DROPOUT),
    "four stages, naive": Case((1, 1, 1, 1), "naive", (3, 4), model=DROPOUT),
    "four stages, previous, ragged": Case((1, 1, 1, 1), model=PREVIOUS, lengths=RAGGED),
}
"""Four ranks and one replica."""

REPLICAS = {
    "unequal shares": Case(shares=(3, 2), batch_sizes=(5, 5), measured=True, scaled=True),
    "unequal shares, ragged, every step": Case(
        shares=(1, 4), lengths=RAGGED, batch_sizes=(5, 5), model={"every_step": True}
    ),
    "float32": Case(shares=(3, 2), lengths=RAGGED, model=FLOAT32),
    "a last batch without a row for one": Case(shares=(3, 2), batch_sizes=(5, 4, 2), measured=True),
    "a first batch without a row for one": Case(
        shares=(3, 2), batch_sizes=(1, 5, 2), model={"every_step": True}
    ),
    "carried, and a last batch without a row for one": Case(
        shares=(3, 2), batch_sizes=(5, 4, 2, 5), model=CARRY, lengths=RAGGED
    ),
    "carried, and a first batch without a row for one": Case(
        shares=(3, 2), batch_sizes=(2, 5, 4), model=CARRY
    ),
    "given h_0": Case(shares=(2, 3), gives_h_0=True),
    "replayed": Case(shares=(3, 2), batch_sizes=(5, 5, 2, 5), model=CARRY, graphs=True),
    "frozen": Case(shares=(3, 2), batch_sizes=(5, 2), frozen="gru.blocks.1.", measured=True),
    "SegRNN, carried, and a last batch without a row for one": Case(
        shares=(3, 2), batch_sizes=(5, 4, 2, 5), model=CARRY, forecasts=True
    ),
    "two stages a rank": Case(
        (1, 1, 1, 1), devices=ALTERNATING, shares=(3, 2), batch_sizes=(5, 2), model=PREVIOUS
    ),
}
"""Four ranks: two replicas of two ranks."""

DROPPING = Case(grid=(1, 3), shares=(3, 2), batch_sizes=(5, 5), model={"dropout": 0.3})
"""Two replicas of two ranks, whose micro-batches are the two of one pipeline."""

THREE_REPLICAS = {
    f"three replicas, {name}": Case(
        blocks, grid=(1, 2), devices=devices, shares=(2, 2, 1), batch_sizes=(5, 4), model=FLOAT32
    )
    for name, blocks, devices in (
        ("2 + 2", (2, 2), None),
        ("1 + 3", (1, 3), None),
        ("alternating", (1, 1, 1, 1), ALTERNATING),
    )
}
"""Six ranks: three replicas of two ranks, over device maps that are to give the same bits."""

FOUR_REPLICAS = {
    f"four replicas, {name}": Case(
        blocks,
        grid=(1, 2),
        devices=["cpu:0"] * len(blocks),
        shares=(2, 1, 1, 1),
        batch_sizes=(5, 4),
        model=FLOAT32,
    )
    for name, blocks in (("one stage", (4,)), ("1 + 3", (1, 3)), ("4 x 1", (1, 1, 1, 1)))
}
"""Four ranks, each a replica, over what each runs in one stage; the same bits again."""

TERMS = (1e8, 1.0, -1e8, 3.0, 1e8, 1.0)
"""A term of each rank; in float32 their sum depends on the order."""

TWO_GPUS = {
    "two GPUs": Case(devices=("cuda:0", "cuda:1"), lengths=RAGGED, model=CARRY),
    "a GPU each": Case(devices=("cuda:0", "cuda:0"), shares=(3, 2), batch_sizes=(5, 4, 2)),
}
"""Two ranks, once as one pipeline and once as two."""

ALONE = {
    kind: {
        "two stages": Case(devices=(f"{kind}:0",) * 2, lengths=RAGGED, model=CARRY),
        "one stage": Case((4,), devices=(f"{kind}:0",), grid=(1, 3)),
    }
    for kind in ("cpu", "cuda")
}
"""One rank with a device for all of its stages, by the device's kind."""

CASES_OF_WORLD: dict[int, dict[str, Case]] = {
    2: ONE_PIPELINE | REPLICAS_OF_ONE_RANK,
    4: FOUR_STAGES | REPLICAS | FOUR_REPLICAS | {"dropping": DROPPING},
    6: THREE_REPLICAS,
}
"""By the number of ranks."""

LONG = frozenset(
    {
        # Each schedule is left with one shape, and each shape with one schedule.
        "gpipe, 2 x 3, whole",
        "gpipe, 5 x 7, ragged",
        "one_f_one_b, 1 x 1, whole",
        "one_f_one_b, 2 x 3, whole",
        "naive, 1 x 1, whole",
        "naive, 5 x 7, ragged",
        # What each of these has alone, others have together.
        "every step",
        "given h_0, whole",
        "carried",
        "previous",
        "previous, ragged",
        "bidirectional",
        "truncated at every chunk, ragged",
        "alternating",
        "paired",
        "four stages, naive",
        "float32",
        "a last batch without a row for one",
        "carried, and a first batch without a row for one",
        "four replicas, 1 + 3",
        *THREE_REPLICAS,
    }
)
"""Cases for `make test-long` alone."""

TWISTS_OF_WORLD = {2: OF_RANKS, 4: OF_REPLICAS, 6: ()}
ORDINARY_TWISTS = {
    2: (
        "hooks_on_the_accumulation",
        "optimiser_inside_backward",
        "spectral_norm",
        "shared_in_a_stage",
        "frozen",
    ),
    4: ("hooks_that_clamp", "weight_norm"),
}
"""The others are for `make test-long` alone; the threads engine is tried on all of them."""


def train(case: Case, engine: Engine, model: StackModel, rows: slice = slice(None)) -> Numbers:
    """Predict, train, clip and step; return all numbers that come out, under names of their own.

    Args:
        case: what to run.
        engine: that runs it, or this rank's part of it.
        model: that it runs; weights on the meta device are another rank's.
        rows: of a full batch, those that come here.
    """
    own = {name: w for name, w in model.named_parameters() if not w.is_meta and w.requires_grad}
    seen: Numbers = {}
    for step in range(len(case.batch_sizes)):
        batch = case.batch(step, rows)
        y = batch.pop("y")
        with case.precision():
            model.eval()
            seen[f"predictions {step}"] = engine.collect(engine.predict(Windows(**batch)))
            model.train()
            loss = engine.train_step(Windows(y=y, **batch), step)
        model.zero_grad()
        loss.backward()
        seen[f"loss {step}"] = loss.detach()
        seen |= gradients_of(own, f"gradient {step}")
        h_0 = batch.get("h_0")
        if h_0 is not None and len(case.shares) == 1:
            seen |= gradients_of_h_0(model, h_0, f"gradient {step}")
        engine.clip_grad_norm(list(own.values()), MAX_NORM)
        seen |= gradients_of(own, f"clipped gradient {step}")
        with torch.no_grad():
            for weight in own.values():
                if weight.grad is not None:
                    weight.sub_(weight.grad, alpha=LEARNING_RATE)
        carried = engine.carried
        seen |= {f"carried in {use} {step}": states for use, states in carried.items()}
        # So that what is carried has to have gone where it belongs.
        engine.carried = {use: states / 2 for use, states in carried.items()}
    return seen | {f"weight {name}": weight.detach().clone() for name, weight in own.items()}


def gradients_of(weights: Mapping[str, Tensor], what: str) -> Numbers:
    return {
        f"{what} of {name}": weight.grad.clone()
        for name, weight in weights.items()
        if weight.grad is not None
    }


def gradients_of_h_0(model: StackModel, h_0: Tensor, what: str) -> Numbers:
    """Of each block that is here, the gradient of the states that it was given."""
    assert h_0.grad is not None
    return {
        f"{what} of the h_0 of block {index}": h_0.grad[states].clone()
        for index, (block, states) in enumerate(
            zip(model.gru.gru_blocks, model.gru.state_slices, strict=True)
        )
        if not block.weights()[0].is_meta
    }


def first_nonfinite_stages(
    case: Case, engine: PipelineEngine, model: StackModel, rows: slice = slice(None)
) -> list[int | None]:
    """Look for the stage whose outputs stop being finite, before and after block 2 is broken."""
    batch = case.batch(len(case.batch_sizes) - 1, rows)
    del batch["y"]
    whole = engine.first_nonfinite_stage(Windows(**batch))
    with torch.no_grad():
        model.gru.gru_blocks[2].weights()[0].fill_(torch.nan)
    return [whole, engine.first_nonfinite_stage(Windows(**batch))]
