"""Training runs over ranks: the cases, and what a rank does that runs all of them.

Each rank writes what a run came to into its world's folder, as <run>.<rank>.pt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils._pytree import tree_leaves

from gru_parallel.data import SeriesDataModule, Share
from gru_parallel.data.share import ALL_ROWS
from gru_parallel.placement import Plan
from gru_parallel.planning import RankMap
from gru_parallel.ranks import Launch, Ranks, join
from gru_parallel.training import SeriesModule
from gru_parallel.training.process_strategy import ProcessStrategy
from gru_parallel.training.strategy import PipelineStrategy
from tests.builders import MSE, build_model, make_plan
from tests.rank_groups import groups_end_here
from tests.runs import BATCH_SIZE, Run, adamw, fit, make_data, make_module, make_trainer, sgd
from tests.training import test_carried_and_ragged as carried_and_ragged
from tests.training.test_checkpoints import SaveAfter, cosine, plateau

PLAN = make_plan([2, 2], n_micro_batches=2, n_chunks=2)
N_BEFORE = 6
"""Batches before the checkpoint of a run that is resumed: it is written in an epoch."""


@dataclass(frozen=True)
class World:
    """Ranks that run cases together: so many replicas of the plan.

    Attributes:
        n_replicas: how many.
        alone: who makes the same runs, and so the same checkpoints, in one process.
        cases: which of the runs they make.
        in_make_test: the names of those that they make there; the others are for `make test-long`.
    """

    n_replicas: int
    alone: str
    cases: Mapping[str, Case]
    in_make_test: Collection[str]

    @property
    def n_ranks(self) -> int:
        return self.n_replicas * PLAN.n_stages


@dataclass(frozen=True)
class Case:
    """A training run, for any strategy.

    Attributes:
        make_module: makes what is trained.
        make_data: makes what it is trained on, or a replica's share of it.
        make_callbacks: makes the callbacks that it is trained with.
        truncate: as in `Plan`.
        drops_out: whether the numbers depend on how a batch is cut into micro-batches.
        tolerance: how far a run over replicas may be from one on the whole batch.
        options: of the Trainer.
    """

    make_module: Callable[[], SeriesModule] = make_module
    make_data: Callable[..., SeriesDataModule] = make_data
    make_callbacks: Callable[[], list[pl.Callback]] = list
    truncate: int | None = None
    drops_out: bool = False
    tolerance: float = 1e-5
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """Of each replica."""
        return replace(PLAN, grid=replace(PLAN.grid, truncate=self.truncate))

    def plan_alone(self, world: str) -> Plan:
        """For one process, with as many micro-batches as the replicas of a world have together."""
        n_micro_batches = PLAN.grid.n_micro_batches * WORLDS[world].n_replicas
        return replace(self.plan, grid=replace(self.plan.grid, n_micro_batches=n_micro_batches))

    def train(
        self,
        strategy: PipelineStrategy | None,
        share: Share = ALL_ROWS,
        callbacks: Sequence[pl.Callback] = (),
        ckpt_path: Path | None = None,
    ) -> Run:
        """Train; without a strategy on one device."""
        return fit(
            None,
            self.make_module(),
            self.make_data(share=share),
            callbacks=[*self.make_callbacks(), *callbacks],
            ckpt_path=ckpt_path,
            **({} if strategy is None else {"strategy": strategy}),
            **self.options,
        )


ONE_EPOCH = {"max_epochs": 1}
"""For what no second epoch adds anything to."""


def flags(**options: Any) -> Case:
    """Make a case of the standard module with options of the Trainer, for an epoch."""
    return Case(options=options | ONE_EPOCH)


def module_of(make_optimizer: Callable[..., Any] = sgd, **options: Any) -> SeriesModule:
    """Wrap a model with these options of `build_model`."""
    return SeriesModule(build_model(dtype=torch.float32, **options), MSE, make_optimizer)


def of_frozen_half() -> SeriesModule:
    """Make a module of which the stages of one rank are not trained."""
    module = module_of(adamw)
    for part in (module.model.encoder, *module.model.gru.blocks[:2]):
        part.requires_grad_(False)
    return module


def stop_after_three() -> list[pl.Callback]:
    # No epoch is good enough, so the run ends after the third of six.
    return [EarlyStopping("val/loss", min_delta=9.0, patience=2)]


STREAMS = partial(carried_and_ragged.make_data, order="streams", stride=2, split=(0.7, 0.15, 0.15))
SHORT = partial(carried_and_ragged.make_data, min_input_length=2)
CARRYING = partial(module_of, h_0=["carry", "zeros", "learned", "carry"])

RESUMED = {
    # Of whole batches alone, so that replicas have the micro-batches of one device.
    "everything": Case(
        partial(make_module, adamw, dropout=0.3, make_scheduler=cosine),
        drops_out=True,
        tolerance=1e-4,
        options={
            "gradient_clip_val": 0.1,
            "accumulate_grad_batches": 2,
            "limit_train_batches": 4,
        },
    ),
    "carried states": Case(CARRYING, STREAMS),
}
"""Runs that write a checkpoint after N_BEFORE batches, and are resumed from it."""

ASKED_ANEW = replace(
    RESUMED["everything"],
    make_module=partial(
        make_module,
        partial(adamw, lr=2e-2, weight_decay=0.1),
        dropout=0.3,
        make_scheduler=cosine,
    ),
    options=RESUMED["everything"].options | {"max_epochs": 3},
)
"""Resumed from the checkpoint of "everything" for longer, at another rate."""

OVER_REPLICAS = RESUMED | {
    "clip by value": flags(gradient_clip_val=0.01, gradient_clip_algorithm="value"),
    "accumulate": flags(accumulate_grad_batches=2),
    "bf16-mixed": Case(tolerance=5e-3, options={"precision": "bf16-mixed"} | ONE_EPOCH),
    "64-true": Case(tolerance=1e-10, options={"precision": "64-true"} | ONE_EPOCH),
    "plateau": Case(
        partial(make_module, make_scheduler=plateau, schedule_interval="epoch"),
        options={"max_epochs": 3},
    ),
    "a rank that trains nothing": Case(of_frozen_half, options={"gradient_clip_val": 0.1}),
    "early stopping": Case(make_callbacks=stop_after_three, options={"max_epochs": 6}),
    "carried and truncated": Case(CARRYING, STREAMS, truncate=1),
    "short windows, at every step": Case(
        partial(module_of, every_step=True),
        partial(SHORT, task="every_step"),
        options=ONE_EPOCH,
    ),
}

CASES = OVER_REPLICAS | {
    # Over replicas, "everything" has both in it.
    "plain": flags(),
    "clip by norm": flags(gradient_clip_val=0.1),
}

EVALUATIONS = {
    "windows": CASES["plain"],
    "streams": CASES["carried states"],
    "short windows": Case(module_of, SHORT),
    "short windows, at every step": CASES["short windows, at every step"],
}
"""Cases that are validated, tested and predicted with, untrained."""


EARLIER = "an earlier version"
"""Whose checkpoints have the state of the optimiser by number; it is otherwise that of threads."""

WORLDS = {
    "pipeline": World(
        1,
        "threads",
        CASES,
        (
            *RESUMED,
            "clip by value",
            "bf16-mixed",
            "plateau",
            "a rank that trains nothing",
            "everything after pipeline",
            "carried states after threads",
            f"everything after {EARLIER}",
            "asked anew",
            "evaluate streams",
            "evaluate short windows, at every step",
        ),
    ),
    "replicas": World(
        2,
        "threads, whole batches",
        OVER_REPLICAS,
        (
            *RESUMED,
            "early stopping",
            "short windows, at every step",
            "everything after threads, whole batches",
            "carried states after replicas",
            "evaluate streams",
            "evaluate short windows",
        ),
    ),
}


@dataclass(frozen=True)
class RankRun:
    """What a training run came to on one rank; its own weights only."""

    losses: Tensor
    rates: list[float]
    validation: list[dict[str, Tensor]]
    weights: dict[str, Tensor]
    n_epochs: int
    n_steps: int

    @classmethod
    def of(cls, run: Run) -> RankRun:
        trainer = run.trainer
        return cls(
            run.losses,
            run.rates,
            run.validation,
            run.weights,
            trainer.current_epoch,
            trainer.global_step,
        )


@dataclass(frozen=True)
class Evaluation:
    """What an untrained model comes to on one rank.

    Attributes:
        metrics: of validation and test, by name.
        predictions: of every test batch.
    """

    metrics: dict[str, float]
    predictions: list[Tensor]

    @classmethod
    def of(
        cls, case: Case, strategy: PipelineStrategy | None, share: Share = ALL_ROWS
    ) -> Evaluation:
        trainer = make_trainer(None, **({} if strategy is None else {"strategy": strategy}))
        module, data = case.make_module(), case.make_data(share=share)
        (validated,) = trainer.validate(module, data, verbose=False)
        (tested,) = trainer.test(module, data, verbose=False)
        predictions = trainer.predict(module, data)
        return cls({**validated, **tested}, list(predictions or []))


def checkpoint(folder: Path, name: str, written_by: str) -> Path:
    """Return where a case's checkpoint is: a world's, or that of who makes its runs alone."""
    return folder / f"{name} by {written_by}.ckpt"


def load(path: Path) -> dict[str, Any]:
    """Read what a rank has written."""
    read: dict[str, Any] = torch.load(path, weights_only=True)
    return read


def run_all(folder: Path, world: str, *, also_long: bool) -> None:
    """Run the cases of `make test` as a rank of a world, or those of `make test-long`, too."""
    n_replicas, cases = WORLDS[world].n_replicas, WORLDS[world].cases
    with join(Launch.from_environment(), timeout_s=60) as ranks:
        wanted = None if also_long else WORLDS[world].in_make_test
        own = _OwnRank(ranks, n_replicas, folder / world, wanted)
        for name, case in cases.items():
            path = checkpoint(folder, name, world)
            # States that are carried are those of rows, which ranks do send.
            save = SaveWithoutGathering if name == "everything" else SaveAfter
            saves = [save(N_BEFORE, path)] if name in RESUMED else []
            own.train(case, name, callbacks=saves)
        for name, case in RESUMED.items():
            for writer in (world, WORLDS[world].alone):
                path = checkpoint(folder, name, writer)
                own.train(case, f"{name} after {writer}", ckpt_path=path)
        path = checkpoint(folder, "everything", EARLIER)
        own.train(RESUMED["everything"], f"everything after {EARLIER}", ckpt_path=path)
        own.train(ASKED_ANEW, "asked anew", ckpt_path=checkpoint(folder, "everything", world))
        for name, case in EVALUATIONS.items():
            own.evaluate(case, f"evaluate {name}")


class SaveWithoutGathering(SaveAfter):
    """Writes its checkpoint, and fails if ranks send each other what is in it."""

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("all_gather_object", "gather_object", "broadcast_object_list"):
                patch.setattr(dist, name, _refusing_weights(getattr(dist, name)))
            super().on_train_batch_end(trainer, *rest)


def _refusing_weights(send: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*things: Any, **named: Any) -> Any:
        for leaf in tree_leaves((things, named)):
            is_weight = isinstance(leaf, Tensor) and leaf.is_floating_point()
            assert not is_weight or leaf.is_meta, "weights are sent to be saved"
        return send(*things, **named)

    return checked


class _OwnRank:
    """Runs cases, those that are wanted, and writes what they came to on this rank."""

    def __init__(
        self, ranks: Ranks, n_replicas: int, folder: Path, wanted: Collection[str] | None
    ) -> None:
        self._ranks = ranks
        self._n_replicas = n_replicas
        self._share = Share(
            RankMap(PLAN, n_replicas, ranks.world_size).replica(ranks.rank), n_replicas
        )
        self._folder = folder
        self._wanted = wanted

    def train(self, case: Case, name: str, **options: Any) -> None:
        if self._wants(name):
            with groups_end_here(self._ranks):
                run = case.train(self._strategy(case), self._share, **options)
                self._write(RankRun.of(run), name)

    def evaluate(self, case: Case, name: str) -> None:
        if self._wants(name):
            with groups_end_here(self._ranks):
                self._write(Evaluation.of(case, self._strategy(case), self._share), name)

    def _wants(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted

    def _strategy(self, case: Case) -> ProcessStrategy:
        return ProcessStrategy(
            case.plan,
            self._ranks,
            data_parallel=self._n_replicas,
            rows=self._share.rows(BATCH_SIZE),
            saves_in_background=self._n_replicas == 1,
        )

    def _write(self, came_to: RankRun | Evaluation, name: str) -> None:
        torch.save(asdict(came_to), self._folder / f"{name}.{self._ranks.rank}.pt")
