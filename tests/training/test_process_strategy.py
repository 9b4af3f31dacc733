"""Training runs over ranks: those of threads to the last bit; over replicas, of one device."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import torch.distributed as dist
from _pytest.mark import ParameterSet
from lightning.pytorch.callbacks import (
    EMAWeightAveraging,
    ModelPruning,
    StochasticWeightAveraging,
)
from torch import Tensor

from gru_parallel.data import Share
from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch, join
from gru_parallel.training import PipelineStrategy
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.process_strategy import ProcessStrategy
from tests.builders import make_plan
from tests.forked_ranks import ForkedRank, wait_for_all
from tests.rank_processes import free_port, rank_environment
from tests.runs import Run, fit, largest_difference, make_data, make_module
from tests.training.rank_runs import (
    ASKED_ANEW,
    CASES,
    EARLIER,
    EVALUATIONS,
    N_BEFORE,
    OVER_REPLICAS,
    PLAN,
    RESUMED,
    WORLDS,
    Evaluation,
    RankRun,
    checkpoint,
    load,
    run_all,
)
from tests.training.test_checkpoints import SaveAfter
from tests.training.test_optimizer_state import write_by_number

ALL_END_WITHIN_S = 90.0
METRICS_TOLERANCE = 1e-6
"""They are kept in float32, whatever the precision of the training."""


@pytest.fixture(scope="module")
def ordinary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_worlds(tmp_path_factory.mktemp("ranks"), also_long=False)


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_worlds(tmp_path_factory.mktemp("ranks"), also_long=True)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    """Of the worlds of `make test`, or of `make test-long` for a test of that."""
    long = request.node.get_closest_marker("long")
    folder: Path = request.getfixturevalue("long_folder" if long else "ordinary_folder")
    return folder


def run_worlds(written: Path, *, also_long: bool) -> Path:
    """Have the ranks of all worlds write a folder, and threads their checkpoints beside it."""
    for name in RESUMED:
        for world in WORLDS:
            path = checkpoint(written, name, WORLDS[world].alone)
            train_alone(world, name, callbacks=[SaveAfter(N_BEFORE, path)])
    saved = load(checkpoint(written, "everything", "threads"))
    write_by_number(saved, checkpoint(written, "everything", EARLIER))
    ranks = [rank for world in WORLDS for rank in start_world(world, written, also_long=also_long)]
    all_ended = wait_for_all(ranks, time.monotonic() + ALL_END_WITHIN_S)
    statuses = [rank.kill() for rank in ranks]
    said = "\n".join(path.read_text() for path in sorted(written.glob("*/rank */err")))
    assert all_ended, said
    assert set(statuses) == {0}, said
    return written


def start_world(name: str, folder: Path, *, also_long: bool) -> list[ForkedRank]:
    port = free_port()
    work = partial(run_all, folder, name, also_long=also_long)
    ranks = []
    for rank in range(WORLDS[name].n_ranks):
        begins_in = folder / name / f"rank {rank}"
        begins_in.mkdir(parents=True)
        environment = os.environ | rank_environment(rank, WORLDS[name].n_ranks, port)
        ranks.append(ForkedRank(environment, work, begins_in))
    return ranks


def each(world: str, names: Iterable[str], run: str = "{}") -> list[ParameterSet]:
    """Have a test run on cases of a world, by `make test` where the ranks make their run there."""
    there = WORLDS[world].in_make_test
    return [
        pytest.param(name, marks=[] if run.format(name) in there else [pytest.mark.long])
        for name in names
    ]


def each_resumed(world: str) -> list[ParameterSet]:
    """Have a test run on all pairs of who wrote a checkpoint, and of which case it is."""
    there = WORLDS[world].in_make_test
    return [
        pytest.param(
            writer, name, marks=[] if f"{name} after {writer}" in there else [pytest.mark.long]
        )
        for writer in (world, WORLDS[world].alone)
        for name in RESUMED
    ]


def train_alone(world: str, name: str, **options: Any) -> Run:
    """Make a run of a world in one process."""
    case = CASES[name]
    return case.train(PipelineStrategy(case.plan_alone(world)), **options)


@cache
def run_of_threads(name: str) -> RankRun:
    return of_moved_weights(train_alone("pipeline", name))


@cache
def run_on_whole_batches(name: str) -> RankRun:
    case = CASES[name]
    # One device cuts neither the batch, on which dropout depends, nor time.
    if case.drops_out or case.truncate is not None:
        return of_moved_weights(train_alone("replicas", name))
    return of_moved_weights(case.train(None))


def of_moved_weights(run: Run) -> RankRun:
    # To compare weights that stayed would prove nothing.
    assert largest_difference(run.weights, run.initial_weights) > 1e-3
    return RankRun.of(run)


def runs_of_ranks(folder: Path, world: str, name: str) -> list[RankRun]:
    ranks = range(WORLDS[world].n_ranks)
    return [RankRun(**load(folder / world / f"{name}.{rank}.pt")) for rank in ranks]


def evaluations_of_ranks(folder: Path, world: str, name: str) -> list[Evaluation]:
    ranks = range(WORLDS[world].n_ranks)
    return [Evaluation(**load(folder / world / f"evaluate {name}.{rank}.pt")) for rank in ranks]


def together(runs: list[RankRun]) -> RankRun:
    """One run of the ranks of a replica: they tell of the same, and each has its own weights."""
    first, *others = runs
    weights = dict(first.weights)
    for other in others:
        assert torch.equal(other.losses, first.losses)
        assert (other.rates, other.validation) == (first.rates, first.validation)
        assert (other.n_epochs, other.n_steps) == (first.n_epochs, first.n_steps)
        assert not other.weights.keys() & weights.keys()
        weights |= other.weights
    return replace(first, weights=weights)


def replicas_together(runs: list[RankRun]) -> RankRun:
    """One run of the ranks of all replicas, which end with the same weights."""
    n_ranks = PLAN.n_stages
    first, *others = (together(runs[at : at + n_ranks]) for at in range(0, len(runs), n_ranks))
    for other in others:
        assert_same_to_the_last_bit(other, first)
    return first


def assert_same_to_the_last_bit(actual: RankRun, expected: RankRun) -> None:
    assert torch.equal(actual.losses, expected.losses)
    assert actual.rates == expected.rates
    assert actual.validation == expected.validation
    assert (actual.n_epochs, actual.n_steps) == (expected.n_epochs, expected.n_steps)
    assert actual.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert torch.equal(actual.weights[name], weight), name


def assert_close(actual: RankRun, expected: RankRun, tolerance: float) -> None:
    assert actual.losses.shape == expected.losses.shape
    assert float((actual.losses - expected.losses).abs().max()) <= tolerance
    assert actual.rates == expected.rates
    assert len(actual.validation) == len(expected.validation)
    for found, wanted in zip(actual.validation, expected.validation, strict=True):
        assert largest_difference(found, wanted) <= max(tolerance, METRICS_TOLERANCE)
    assert (actual.n_epochs, actual.n_steps) == (expected.n_epochs, expected.n_steps)
    assert largest_difference(in_order(actual.weights), in_order(expected.weights)) <= tolerance


def in_order(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] for name in sorted(weights)}


def from_checkpoint_on(run: RankRun) -> RankRun:
    """The part of a run that comes after its checkpoint."""
    # The first epoch, and no other, was validated before it.
    return replace(
        run,
        losses=run.losses[N_BEFORE:],
        rates=run.rates[N_BEFORE:],
        validation=run.validation[1:],
    )


@pytest.mark.parametrize("name", each("pipeline", CASES))
def test_a_run_over_ranks_is_that_of_threads_to_the_last_bit(name: str, folder: Path) -> None:
    run = together(runs_of_ranks(folder, "pipeline", name))

    assert_same_to_the_last_bit(run, run_of_threads(name))


@pytest.mark.parametrize("name", each("replicas", OVER_REPLICAS))
def test_a_run_over_replicas_is_that_of_one_device_on_whole_batches(
    name: str, folder: Path
) -> None:
    run = replicas_together(runs_of_ranks(folder, "replicas", name))

    assert_close(run, run_on_whole_batches(name), CASES[name].tolerance)


@pytest.mark.parametrize(("written_by", "name"), each_resumed("pipeline"))
def test_ranks_resume_from_a_checkpoint_to_the_last_bit(
    written_by: str, name: str, folder: Path
) -> None:
    run = together(runs_of_ranks(folder, "pipeline", f"{name} after {written_by}"))

    assert_same_to_the_last_bit(run, from_checkpoint_on(run_of_threads(name)))


def test_ranks_resume_from_a_checkpoint_of_an_earlier_version_to_the_last_bit(
    folder: Path,
) -> None:
    run = together(runs_of_ranks(folder, "pipeline", f"everything after {EARLIER}"))

    assert_same_to_the_last_bit(run, from_checkpoint_on(run_of_threads("everything")))


@pytest.mark.parametrize("name", RESUMED)
def test_threads_resume_from_a_checkpoint_of_ranks_to_the_last_bit(name: str, folder: Path) -> None:
    run = train_alone("pipeline", name, ckpt_path=checkpoint(folder, name, "pipeline"))

    assert_same_to_the_last_bit(RankRun.of(run), from_checkpoint_on(run_of_threads(name)))


@pytest.mark.parametrize(("written_by", "name"), each_resumed("replicas"))
def test_replicas_resume_from_a_checkpoint(written_by: str, name: str, folder: Path) -> None:
    run = replicas_together(runs_of_ranks(folder, "replicas", f"{name} after {written_by}"))

    straight = from_checkpoint_on(run_on_whole_batches(name))
    assert_close(run, straight, CASES[name].tolerance)


@pytest.mark.parametrize("name", RESUMED)
def test_one_process_resumes_from_a_checkpoint_of_replicas(name: str, folder: Path) -> None:
    run = train_alone("replicas", name, ckpt_path=checkpoint(folder, name, "replicas"))

    straight = from_checkpoint_on(run_on_whole_batches(name))
    assert_close(RankRun.of(run), straight, CASES[name].tolerance)


def test_ranks_use_what_is_asked_for_anew_to_the_last_bit(folder: Path) -> None:
    run = together(runs_of_ranks(folder, "pipeline", "asked anew"))

    path = checkpoint(folder, "everything", "threads")
    threads = RankRun.of(ASKED_ANEW.train(PipelineStrategy(PLAN), ckpt_path=path))
    assert_same_to_the_last_bit(run, threads)
    assert len(run.rates) > len(run_of_threads("everything").rates[N_BEFORE:])


@pytest.mark.parametrize("name", RESUMED)
def test_a_checkpoint_of_ranks_is_that_of_threads(name: str, folder: Path) -> None:
    by_ranks, by_threads = (
        read_checkpoint(checkpoint(folder, name, writer)) for writer in ("pipeline", "threads")
    )

    assert by_ranks.keys() == by_threads.keys()
    assert list(by_ranks["state_dict"]) == list(by_threads["state_dict"])
    for key in ("loops", "module", "beginning", "SeriesDataModule"):
        assert by_ranks[key] == by_threads[key]
    (state,), (expected,) = by_ranks["optimizer_states"], by_threads["optimizer_states"]
    assert list(state["state"]) == list(expected["state"])
    assert state["param_groups"] == expected["param_groups"]
    torch.testing.assert_close(dict(state["state"]), expected["state"], rtol=0, atol=0)
    for key in ("lr_schedulers", "carried"):
        torch.testing.assert_close(by_ranks[key], by_threads[key], rtol=0, atol=0)
    weights, expected_weights = dict(by_ranks["state_dict"]), dict(by_threads["state_dict"])
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)


@pytest.mark.parametrize("name", each("pipeline", EVALUATIONS, "evaluate {}"))
def test_ranks_measure_and_predict_what_threads_do_to_the_last_bit(name: str, folder: Path) -> None:
    case = EVALUATIONS[name]
    expected = Evaluation.of(case, PipelineStrategy(case.plan))

    for found in evaluations_of_ranks(folder, "pipeline", name):
        assert found.metrics == expected.metrics
        assert len(found.predictions) == len(expected.predictions)
        for batch, wanted in zip(found.predictions, expected.predictions, strict=True):
            assert torch.equal(batch, wanted)


@pytest.mark.parametrize("name", each("replicas", EVALUATIONS, "evaluate {}"))
def test_replicas_measure_and_predict_every_row_once_and_in_order(name: str, folder: Path) -> None:
    expected = Evaluation.of(EVALUATIONS[name], None)

    for found in evaluations_of_ranks(folder, "replicas", name):
        assert found.metrics == pytest.approx(expected.metrics, rel=1e-5)
        assert len(found.predictions) == len(expected.predictions)
        for batch, wanted in zip(found.predictions, expected.predictions, strict=True):
            torch.testing.assert_close(batch, wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture
def rank_alone() -> Iterator[ProcessStrategy]:
    launch = Launch(0, 1, 0, 1, "127.0.0.1", free_port(), 0, False)
    with join(launch, timeout_s=10) as ranks:
        yield ProcessStrategy(make_plan([4]), ranks)
    if dist.is_initialized():
        # A rank that failed leaves it to the end of its process.
        dist.destroy_process_group()


def test_an_optimiser_that_looks_at_all_weights_is_refused(rank_alone: ProcessStrategy) -> None:
    with pytest.raises(UsageError, match=r"torch\.optim\.LBFGS looks at all weights at once"):
        fit(None, make_module(torch.optim.LBFGS), strategy=rank_alone)


@pytest.mark.parametrize(
    "callback",
    [StochasticWeightAveraging(0.1), EMAWeightAveraging(), ModelPruning("l1_unstructured")],
    ids=lambda callback: type(callback).__name__,
)
def test_a_callback_that_looks_at_all_weights_is_refused(
    callback: pl.Callback, rank_alone: ProcessStrategy
) -> None:
    with pytest.raises(UsageError, match=r"The callback \w+ looks at all weights at once, but"):
        fit(None, make_module(), strategy=rank_alone, callbacks=[callback])


@pytest.mark.parametrize("order", ["shuffled", "streams"])
def test_data_that_fetches_the_rows_of_another_replica_is_refused(
    order: str, rank_alone: ProcessStrategy
) -> None:
    of_two = make_data(order=order, centre="none", share=Share(0, 2))

    with pytest.raises(UsageError, match=r"is of replica 0 of 1, .* with share=Share\(0, 1\)"):
        fit(None, make_module(), of_two, strategy=rank_alone)


def test_data_of_others_may_have_a_share_of_another_kind(rank_alone: ProcessStrategy) -> None:
    loader = SimpleNamespace(dataset=SimpleNamespace(share=0.5))

    assert rank_alone.process_dataloader(loader) is loader


def test_what_is_kept_of_a_checkpoint_does_not_change_with_the_file(
    tmp_path: Path, rank_alone: ProcessStrategy
) -> None:
    path = tmp_path / "some.ckpt"
    torch.save({"state_dict": {}, "callbacks": {"best": {"score": torch.tensor(3.0)}}}, path)

    opened = rank_alone.load_checkpoint(path)
    # In place, as one that copies over it does.
    path.write_bytes(bytes(path.stat().st_size))

    assert opened["callbacks"]["best"]["score"] == 3.0
