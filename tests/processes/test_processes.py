"""ProcessEngine: ranks train as one process does, whatever is cut, shared out or carried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.stages import lowered_schedule, make_stages, modules_of_stages
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.processes.world import device_of_rank
from gru_parallel.ranks import Launch
from gru_parallel.stage.cells import Cells
from tests.builders import MSE, TOLERANCE, make_plan, relative_error
from tests.engine.twists import ACROSS_STAGES, Seen, train_plainly
from tests.processes.process_cases import (
    ALONE,
    DROPPING,
    FOUR_REPLICAS,
    FOUR_STAGES,
    LONG,
    ONE_PIPELINE,
    ORDINARY_TWISTS,
    REPLICAS,
    REPLICAS_OF_ONE_RANK,
    SEED,
    TERMS,
    THREE_REPLICAS,
    TWISTS_OF_WORLD,
    TWO_GPUS,
    Case,
    Numbers,
    Outcome,
    first_nonfinite_stages,
    path_of,
    train,
)
from tests.rank_processes import Ended, start

LATEST_END_S = 10.0


ALMOST = 1e-11

ONE_WORLD = pytest.mark.xdist_group("ranks with GPUs")
"""Makes one worker take all of these tests where they are not shared by files: their fixture."""


@dataclass(frozen=True)
class World:
    """What the ranks of a world have left, and how they ended."""

    folder: Path
    ended: list[Ended]

    def found(self, name: str) -> list[Any]:
        """What each rank has kept under a name."""
        paths = [path_of(self.folder, name, rank) for rank in range(len(self.ended))]
        missing = [rank for rank, path in enumerate(paths) if not path.exists()]
        said = "\n".join(one.stderr for one in self.ended)
        assert not missing, f"ranks {missing} did not come to it:\n{said}"
        return [torch.load(path, weights_only=False) for path in paths]

    def outcomes(self, name: str) -> list[Outcome]:
        return self.found(name)


def run_world(n_ranks: int, folder: Path, *options: str) -> World:
    program = ["-m", "tests.processes.process_world", str(folder), *options]
    with start(n_ranks, program) as processes:
        # One that fails before has done some cases all the same, and says in which it failed.
        with suppress(AssertionError):
            processes.wait_for(0, "failing")
        return World(folder, processes.ends())


Worlds = Mapping[int, Future[World]]
"""By the number of their ranks."""


@pytest.fixture(scope="module")
def ordinary_worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    # Both at once, because ranks wait for each other half of their time.
    with ThreadPoolExecutor() as pool:
        yield {n: pool.submit(run_world, n, tmp_path_factory.mktemp(f"{n}_ranks")) for n in (2, 4)}


@pytest.fixture(scope="module")
def long_worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with ThreadPoolExecutor() as pool:
        yield {
            n: pool.submit(run_world, n, tmp_path_factory.mktemp(f"{n}_ranks"), "long")
            for n in (2, 4, 6)
        }


@pytest.fixture
def worlds(request: pytest.FixtureRequest) -> Worlds:
    """Those of `make test`, or of `make test-long` for a test of that."""
    long = request.node.get_closest_marker("long")
    worlds: Worlds = request.getfixturevalue("long_worlds" if long else "ordinary_worlds")
    return worlds


@pytest.fixture
def pair(worlds: Worlds) -> World:
    return worlds[2].result()


@pytest.fixture
def four(worlds: Worlds) -> World:
    return worlds[4].result()


@pytest.fixture
def six(worlds: Worlds) -> World:
    return worlds[6].result()


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> World:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    return run_world(2, tmp_path_factory.mktemp("two_gpus"), "cuda")


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One rank, on a device of the kind that the test is parametrized with."""
    return run_world(1, tmp_path_factory.mktemp("alone"), request.param)


def cases(names: Iterable[str]) -> list[ParameterSet]:
    """Have a test run on these cases, each in its kind of world."""
    return [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in names]


def twists_of_world(n_ranks: int) -> list[ParameterSet]:
    """Have a test run on the twists of a world, each in its kind of world."""
    return [
        pytest.param(name, marks=[] if name in ORDINARY_TWISTS[n_ranks] else [pytest.mark.long])
        for name in TWISTS_OF_WORLD[n_ranks]
    ]


def merged(outcomes: list[Outcome]) -> Numbers:
    """Put together what ranks found; what several of them found has to be the same bits."""
    together: Numbers = {}
    for outcome in outcomes:
        for name, found in outcome.numbers.items():
            assert torch.equal(found, together.setdefault(name, found)), name
    return together


def check_one_replica(case: Case, outcomes: list[Outcome]) -> None:
    """Compare, bit for bit, with the threads engine."""
    model = case.build_model()
    with ThreadEngine(model, replace(case, recompute="none").plan, MSE, seed=SEED) as engine:
        expected = train(case, engine, model)
        nonfinite = first_nonfinite_stages(case, engine, model)
    found = merged(outcomes)
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype, name
        assert torch.equal(found[name], wanted), name
    for outcome in outcomes:
        assert outcome.nonfinite == nonfinite


def check_replicas(case: Case, outcomes: list[Outcome]) -> None:
    """Compare, within rounding, with the model in one piece."""
    model = case.build_model()
    expected = train(case, WholeEngine(model, MSE, seed=SEED), model)
    check_close(outcomes, expected, TOLERANCE[case.dtype])


def check_close(outcomes: list[Outcome], expected: Numbers, tolerance: float) -> None:
    found = merged(outcomes)
    assert {name for name in found if not name.startswith("carried in check")} == expected.keys()
    for name, wanted in expected.items():
        assert relative_error(found[name], wanted) <= tolerance, name


@pytest.mark.parametrize("name", cases(ONE_PIPELINE))
def test_two_ranks_train_bit_for_bit_as_threads_do(name: str, pair: World) -> None:
    check_one_replica(ONE_PIPELINE[name], pair.outcomes(name))


@pytest.mark.parametrize("name", cases(FOUR_STAGES))
def test_four_ranks_train_bit_for_bit_as_threads_do(name: str, four: World) -> None:
    check_one_replica(FOUR_STAGES[name], four.outcomes(name))


@pytest.mark.parametrize("name", cases(REPLICAS_OF_ONE_RANK))
def test_replicas_of_one_rank_train_as_one_model_does(name: str, pair: World) -> None:
    check_replicas(REPLICAS_OF_ONE_RANK[name], pair.outcomes(name))


@pytest.mark.parametrize("name", cases(REPLICAS))
def test_replicas_of_a_pipeline_train_as_one_model_does(name: str, four: World) -> None:
    check_replicas(REPLICAS[name], four.outcomes(name))


def test_replicas_drop_what_the_micro_batches_of_one_pipeline_drop(four: World) -> None:
    one = replace(DROPPING, grid=(2, 3), shares=(5,))
    model = one.build_model()
    with ThreadEngine(model, one.plan, MSE, seed=SEED) as engine:
        expected = train(one, engine, model)

    check_close(four.outcomes("dropping"), expected, TOLERANCE[torch.float64])


@pytest.mark.parametrize("name", cases(THREE_REPLICAS))
def test_three_replicas_train_bit_for_bit_the_same_on_every_device_map(
    name: str, six: World
) -> None:
    check_replicas(THREE_REPLICAS[name], six.outcomes(name))
    check_same_bits(six.outcomes(name), six.outcomes(next(iter(THREE_REPLICAS))))


@pytest.mark.parametrize("name", cases(FOUR_REPLICAS))
def test_four_replicas_train_bit_for_bit_the_same_on_every_device_map(
    name: str, four: World
) -> None:
    check_replicas(FOUR_REPLICAS[name], four.outcomes(name))
    check_same_bits(four.outcomes(name), four.outcomes(next(iter(FOUR_REPLICAS))))


@pytest.mark.parametrize("world", ["four", pytest.param("six", marks=pytest.mark.long)])
def test_a_sum_is_taken_in_the_order_of_the_ranks_wherever_in_the_row_it_stands(
    world: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(world).found("ordered sum")

    expected = torch.tensor(0.0)
    for term in TERMS[: len(found)]:
        expected = expected + term
    assert found == [[expected.item()]] * len(found)


def check_same_bits(outcomes: list[Outcome], expected_outcomes: list[Outcome]) -> None:
    found, expected = merged(outcomes), merged(expected_outcomes)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize(
    "alone", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, ONE_WORLD])], indirect=True
)
def test_one_rank_runs_all_stages_on_its_device(
    alone: World, request: pytest.FixtureRequest
) -> None:
    for name, case in ALONE[request.node.callspec.params["alone"]].items():
        check_replicas(case, alone.outcomes(name))


@pytest.mark.gpu
@ONE_WORLD
@pytest.mark.parametrize("name", TWO_GPUS)
def test_ranks_with_a_gpu_each_train_as_one_model_does(name: str, two_gpus: World) -> None:
    check_replicas(TWO_GPUS[name], two_gpus.outcomes(name))


@pytest.mark.parametrize(("name", "n_rows"), [("unequal shares", 5), ("frozen", 2)])
def test_the_rows_of_a_batch_are_those_of_all_replicas(name: str, n_rows: int, four: World) -> None:
    assert [outcome.n_rows for outcome in four.outcomes(name)] == [n_rows] * 4


@pytest.mark.parametrize("name", ["unequal shares", "frozen", "two stages a rank"])
def test_every_rank_learns_which_stage_is_not_finite(name: str, four: World) -> None:
    # Block 2 was broken, after a look at whole blocks.
    broken = next(s for s, own in enumerate(REPLICAS[name].plan.stages) if 2 in own.blocks)

    assert [outcome.nonfinite for outcome in four.outcomes(name)] == [[None, broken]] * 4


@pytest.mark.parametrize("name", cases(["alternating", "alternating, naive", "truncated"]))
def test_measured_times_are_of_all_stages_on_all_ranks(name: str, pair: World) -> None:
    check_actions(ONE_PIPELINE[name], pair.outcomes(name))


@pytest.mark.parametrize(
    "name", cases(["unequal shares", "frozen", "a last batch without a row for one"])
)
def test_measured_times_are_of_the_first_replica(name: str, four: World) -> None:
    check_actions(REPLICAS[name], four.outcomes(name))


def check_actions(case: Case, outcomes: list[Outcome]) -> None:
    """Compare what was timed with what the schedule says of the last batch."""
    rows = case.rows(0)
    x = case.batch(len(case.batch_sizes) - 1, rows)["x"]
    cells = Cells.cut(len(x), x.shape[1], *case.grid)
    stages = make_stages(case.plan, modules_of_stages(case.build_model(), case.plan))
    lowered = lowered_schedule(case.plan, stages, cells)
    expected = [[str(action) for action in of_stage] for of_stage in lowered.actions]
    assert [outcome.actions for outcome in outcomes] == [expected] * len(outcomes)


def test_gradients_of_a_stage_go_round_before_other_stages_of_the_rank_have_theirs(
    pair: World,
) -> None:
    assert pair.found("overlap") == [[True], [True]]


def test_no_rank_ever_has_the_memory_of_the_whole_model(four: World) -> None:
    for whole_bytes, built_bytes, trained_bytes in four.found("memory"):
        # A quarter of the weights, and a layer of the others.
        assert built_bytes < 0.4 * whole_bytes
        # Their gradients come to it, twice for a moment; with the whole, it would be 1.5.
        assert trained_bytes < 1.2 * whole_bytes


def test_a_failing_stage_ends_the_rank_that_waits_for_it(pair: World) -> None:
    waiting, failing = pair.ended

    check_failure(failing, "rank1", "1B1.1")
    failed = "rank 1 failed while stage 1 on cpu:1 ran B of micro-batch 1, chunk 1"
    check_told(waiting, f"{failed}: Broken: by hand")
    waits = "rank 0 was waiting: stage 0 on cpu:0 waited for the gradients of stage 1, micro-batch"
    assert waits in waiting.stderr


def test_a_failing_stage_ends_the_other_replica_too(four: World) -> None:
    *others, failing = four.ended

    check_failure(failing, "rank3", "1F1.1")
    for rank, other in enumerate(others):
        failed = "rank 3 failed while stage 1 on cpu:1 ran F of micro-batch 1, chunk 1"
        check_told(other, f"{failed}: Broken: by hand")
        assert f"rank {rank} was waiting: " in other.stderr


@pytest.mark.gpu
@ONE_WORLD
def test_a_failing_stage_ends_the_rank_with_a_gpu_that_waits_for_it(two_gpus: World) -> None:
    waiting, failing = two_gpus.ended

    check_failure(failing, "rank1", "1B1.1", "cuda:1")
    failed = "rank 1 failed while stage 1 on cuda:1 ran B of micro-batch 1, chunk 1"
    check_told(waiting, f"{failed}: Broken: by hand")
    assert "rank 0 was waiting: " in waiting.stderr


def check_failure(ended: Ended, rank: str, action: str, device: str = "cpu:1") -> None:
    assert ended.status == 1
    assert ended.after_s < LATEST_END_S
    *_, error, note = ended.stderr.splitlines()
    assert error == f"[{rank}]: Broken: by hand"
    assert note.startswith(f"[{rank}]: while stage 1 on {device} ran {action} (")


def check_told(ended: Ended, happened: str) -> None:
    assert ended.status == 1
    assert ended.after_s < LATEST_END_S
    assert f"RankError: {happened}" in ended.stderr


LAUNCH = Launch(
    rank=5,
    world_size=6,
    local_rank=2,
    local_world_size=3,
    master_addr="127.0.0.1",
    master_port=29500,
    attempt=0,
    uses_agent_store=False,
)


def test_a_rank_computes_on_the_device_with_its_number_on_its_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 3)
    gpus = [f"cuda:{index}" for index in range(6)]

    assert device_of_rank(make_plan([1] * 6), LAUNCH) == torch.device("cpu")
    assert device_of_rank(make_plan([1] * 6, devices=gpus), LAUNCH) == torch.device("cuda:2")


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (["cpu:0", "cuda:0"], "devices of one kind, but the plan has cpu, cuda; choose one"),
        (
            ["cuda:0+cuda:1", "cuda:2"],
            "has two for one stage .with a .*; give one device per block",
        ),
        (["cuda:0", "cuda:1"], "rank 5 is number 2 on its machine, which has 2 cuda devices"),
    ],
)
def test_a_plan_that_gives_a_rank_no_device_of_its_own_is_refused(
    devices: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)

    with pytest.raises(UsageError, match=message):
        device_of_rank(make_plan([2, 2], devices=devices), LAUNCH)


def check_twisted(found: list[Seen], expected: Seen) -> None:
    """Each rank has what plain training leaves in its own weights, and in those of no other."""
    numbers = {name: number for seen in found for name, number in seen.numbers.items()}
    calls = {name: own for seen in found for name, own in seen.calls.items() if own}
    assert numbers.keys() == expected.numbers.keys()
    assert calls.keys() == {name for name, own in expected.calls.items() if own}
    for seen in found:
        for name, number in seen.numbers.items():
            assert relative_error(number, expected.numbers[name]) <= ALMOST, name
        for name, own in seen.calls.items():
            wanted = expected.calls[name] if own else []
            assert len(own) == len(wanted), name
            for call, wanted_call in zip(own, wanted, strict=True):
                assert relative_error(call, wanted_call) <= ALMOST, name


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("twist", twists_of_world(2))
def test_ranks_train_what_was_done_to_a_model_as_plain_pytorch_does(
    pair: World, twist: str
) -> None:
    check_twisted(pair.found(f"twist {twist}"), train_plainly(twist))


@pytest.mark.parametrize("twist", twists_of_world(4))
def test_replicas_train_what_was_done_to_a_model_as_plain_pytorch_does(
    four: World, twist: str
) -> None:
    check_twisted(four.found(f"twist {twist}"), train_plainly(twist))


def test_a_weight_that_stages_of_two_ranks_share_is_refused_by_name(pair: World) -> None:
    for told in pair.found("refusals"):
        assert list(told) == list(ACROSS_STAGES)
        name = "gru.blocks.0.parts.0.weight_hh_l0"
        assert f"The weight {name} is shared by stages of ranks 0 and 1" in told["shared_by_all"]
        assert "The weight encoder.bias is shared" in told["shared_by_ends"] or (
            "The weight gru.blocks.0.parts.0.bias_hh_l0 is shared" in told["shared_by_ends"]
        )


def test_what_needs_a_whole_batch_is_refused_where_replicas_share_it(four: World) -> None:
    for told in four.found("refusals"):
        assert "The encoder has to run on whole batches, which 2 replicas share" in told["encoder"]
        assert "Dropout in it may look beyond" in told["head"]
