import pytest
import torch

from benchmarks.peers.cells import CELLS, MAX_CPU, judge, tables
from benchmarks.peers.cells_subject import CellsSubject
from benchmarks.peers.cells_variant import CellsVariant
from benchmarks.samples import Round, ShapeRun, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.subject import make_subject
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU
from benchmarks.whole_subject import WholeSubject

SHAPE = Shape(hidden_size=128, batch_size=32, n_steps=96, num_layers=4)
SMALL = Shape(hidden_size=5, batch_size=4, n_steps=7, num_layers=3)


def summary(core: str = "fused", uncut_ms: float = 80.0, cut_ms: float = 84.0) -> ShapeSummary:
    cpu_ms: dict[Variant, float] = {
        WholeGRU(1): 100.0,
        CellsVariant(core): uncut_ms,
        CellsVariant(core, 6): cut_ms,
    }
    # Wall time says nothing here.
    turns = {variant: Turn((Step(1.0, ms),), ms) for variant, ms in cpu_ms.items()}
    return summarise(ShapeRun(SHAPE, tuple(cpu_ms), (Round(turns, 0.0, 0.0),), 1))


def test_a_core_is_shown_as_a_share_of_the_cpu_time_of_nn_gru() -> None:
    table, _ = tables([summary()])
    assert table.headings[2:] == (
        "fused",
        "fused in chunks of 6",
        "fused: chunks against uncut",
    )
    assert table.rows[0][1:] == (
        "100.0",
        "0.80 (0.80-0.80)",
        "0.84 (0.84-0.84)",
        "1.05 (1.05-1.05)",
    )


@pytest.mark.parametrize(
    ("uncut_ms", "cut_ms", "met"),
    [(80.0, 84.0, [True, True]), (81.0, 84.0, [False, True]), (79.0, 84.0, [True, False])],
)
def test_both_targets_are_judged_by_cpu_time(
    uncut_ms: float, cut_ms: float, met: list[bool]
) -> None:
    measured = summary(uncut_ms=uncut_ms, cut_ms=cut_ms)
    assert [verdict.met for verdict in judge(measured)] == met
    table, _ = tables([measured])
    assert [words.endswith("!") for words in (table.rows[0][2], table.rows[0][4])] == [
        not own for own in met
    ]


def test_other_cores_have_no_target() -> None:
    assert not list(judge(summary("native", 120.0, 140.0)))


def test_the_shapes_measured_are_those_of_the_targets() -> None:
    assert CELLS.shapes == tuple(MAX_CPU)


@pytest.mark.parametrize("chunk_steps", [None, 3])
def test_the_cells_give_loss_and_gradients_of_nn_gru(chunk_steps: int | None) -> None:
    cells = make_subject(CellsVariant(None, chunk_steps), SMALL)
    whole = make_subject(WholeGRU(1), SMALL)
    assert isinstance(cells, CellsSubject)
    assert isinstance(whole, WholeSubject)
    torch.testing.assert_close(cells.train(), whole.train(), rtol=0, atol=1e-5)
    gradients = [weight.grad for weight in whole.parameters]
    torch.testing.assert_close(cells.gradients, gradients, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("chunk_steps", "n_chunks"), [(None, 1), (6, 16), (96, 1)])
def test_chunks_have_so_many_steps_at_most(chunk_steps: int | None, n_chunks: int) -> None:
    plan = CellsVariant(None, chunk_steps).plan(SHAPE)
    assert (plan.grid.n_chunks, plan.n_stages) == (n_chunks, 1)
