from collections.abc import Iterator
from mmap import PAGESIZE, mmap

import pytest
import torch
from torch import Tensor

from benchmarks.memory.alone import read
from benchmarks.memory.cases import (
    BATCH_SIZE,
    HIDDEN_SIZE,
    N_CHANNELS,
    NUM_LAYERS,
    RECOMPUTING,
    Case,
    Kind,
)
from benchmarks.memory.gauges import python_bytes
from benchmarks.memory.saved import SavedActivations
from benchmarks.memory.subject import make_subject
from benchmarks.resident import CLEAR_REFS, parse_status, resident_bytes
from gru_parallel.placement import Cluster, ModelSpec, cut_stack
from gru_parallel.planning import Planned
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.stage.shelf import AT_ONCE

STATUS = "Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes that measure; `read` sets it too."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize(("name", "size"), [("VmHWM", 2**21), ("VmRSS", 2**20)])
def test_sizes_are_read_from_the_status_in_bytes(name: str, size: int) -> None:
    assert parse_status(STATUS, name) == size


def test_a_storage_is_counted_once_and_only_as_long_as_it_is_saved() -> None:
    weight = torch.randn(100, requires_grad=True)
    with SavedActivations([weight]) as saved:
        y = weight.exp()  # saves its result: 400 bytes
        loss = (y * y).sum()  # saves the same again, twice
        assert saved.alive_bytes == 400
        loss.backward()
        assert saved.alive_bytes == 0
    assert saved.peak_bytes == 400


def test_what_is_known_already_is_not_counted() -> None:
    weight, x = torch.randn(100, requires_grad=True), torch.randn(100)
    with SavedActivations([weight, x]) as saved:
        (weight * x).sum().backward()
    assert saved.peak_bytes == 0


@pytest.mark.parametrize("kind", Kind)
def test_a_step_of_every_kind_saves_what_its_core_needs_and_lets_go_of_it(kind: Kind) -> None:
    subject = make_subject(Case(kind, 200))
    with SavedActivations(subject.tensors()) as saved:
        subject.step()
    # Numbers of 4 bytes a unit, layer, row and step; truncated, stage 1 keeps one of two chunks;
    # computed again, each stage has one.
    few_steps = {Kind.TRUNCATED: 150, **dict.fromkeys(RECOMPUTING, 100)}
    n_numbers, n_steps = 1 if kind is Kind.LEAN else 4, few_steps.get(kind, 200)
    n_bytes = 4 * HIDDEN_SIZE * NUM_LAYERS * BATCH_SIZE * n_steps
    assert n_numbers * n_bytes < saved.peak_bytes < 2 * n_numbers * n_bytes + n_bytes
    assert saved.alive_bytes == 0


def test_truncated_activations_stay_the_same_as_the_sequence_grows() -> None:
    shorter, longer = (read(Case(Kind.TRUNCATED, n), "saved") for n in (300, 600))
    assert shorter == longer
    assert shorter.peak_cells == (2, 1)


@pytest.mark.parametrize(("kind", "inputs"), [(Kind.RECOMPUTED, HIDDEN_SIZE), (Kind.ONE_STAGE, 0)])
def test_recomputed_activations_grow_by_inputs_and_states(kind: Kind, inputs: int) -> None:
    # The first chunk has no state, and so many others lie side by side.
    shorter, longer = (read(Case(kind, 100 * (1 + n * AT_ONCE)), "saved") for n in (1, 2))
    # Of one more chunk: one channel, what the first stage hands over, and the states.
    numbers = 100 * (1 + inputs) + NUM_LAYERS * HIDDEN_SIZE
    assert longer.peak_bytes - shorter.peak_bytes == AT_ONCE * 4 * BATCH_SIZE * numbers
    assert planned_bytes(kind, 2) - planned_bytes(kind, 1) == AT_ONCE * 4 * BATCH_SIZE * numbers


def planned_bytes(kind: Kind, n: int) -> int:
    """What the plan says of the same steps."""
    case = Case(kind, 100 * (1 + n * AT_ONCE))
    spec = ModelSpec(
        cut_stack(N_CHANNELS, HIDDEN_SIZE, NUM_LAYERS, 1), n_outputs=1, every_step=True
    )
    work, cluster = Workload(spec, BATCH_SIZE, case.n_steps), Cluster.of(case.plan.all_devices)
    planned = Planned(case.plan, work, cluster, AnalyticCosts(cluster))
    return sum(planned.stage_activation_bytes)


class Hungry:
    """Takes 64 MiB and gives them back."""

    def step(self) -> None:
        torch.ones(2**26, dtype=torch.uint8)

    def tensors(self) -> list[Tensor]:
        return []


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="only Linux counts it")
def test_the_peak_of_the_resident_set_is_seen_though_the_memory_is_given_back() -> None:
    for _ in range(2):
        # The kernel counts in batches of pages.
        assert resident_bytes(map_64_mib) == pytest.approx(2**26, rel=0.1)


def map_64_mib() -> None:
    """Past the allocator, which may have as much free from tests before."""
    with mmap(-1, 2**26) as mapped:
        for page in range(0, 2**26, PAGESIZE):
            mapped[page] = 1


def test_python_objects_are_counted_and_tensors_are_not() -> None:
    assert 0 < python_bytes(Hungry()) < 2**20
