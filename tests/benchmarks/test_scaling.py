import pytest

from benchmarks.peers import scaling
from benchmarks.peers.scaling import SCALING, judge, n_chunks_of, tables, variants_at
from benchmarks.samples import Round, ShapeRun, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variant import Variant

MIB = 2**20
LONG = Shape(64, 4, 10_000, 4)


@pytest.fixture(autouse=True)
def _with_recompute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "CORES", ("native", "fused"))
    monkeypatch.setattr(scaling, "USUAL_CORE", "fused")
    monkeypatch.setattr(scaling, "RECOMPUTE", ("cell",))


def summary(
    shape: Shape = LONG, times_ms: tuple[float, ...] = (400.0, 300.0, 200.0, 280.0)
) -> ShapeSummary:
    variants: tuple[Variant, ...] = variants_at(shape)
    turns = {
        variant: Turn((Step(ms, ms),), ms, (peak * MIB,))
        for variant, ms, peak in zip(variants, times_ms, (1_000, 900, 800, 50), strict=True)
    }
    only = Round(turns, 0.0, 0.0)
    return summarise(ShapeRun(shape, variants, (only,), 1, only))


def test_time_is_cut_into_chunks_of_100_steps_but_into_16_at_least() -> None:
    sizes = (8, 96, 1_000, 10_000)
    assert [n_chunks_of(Shape(64, 4, size, 4)) for size in sizes] == [8, 16, 16, 100]


def test_shapes_that_differ_in_steps_or_layers_share_a_table() -> None:
    few, many, targets = tables(
        [summary(Shape(64, 32, 96, 4)), summary(Shape(64, 4, 1_000, 4)), summary()]
    )
    assert few.headings == ("system", "T=96, L=4: ms", "T=96, L=4: MiB")
    assert many.rows[-1] == ("threads fused recompute=cell", "280.0", "50.0", "280.0", "50.0")
    assert "T=10,000, L=4, 100 chunks: 1 rounds" in many.note
    assert len(targets.rows) == 1


@pytest.mark.parametrize(("time_ms", "met"), [(280.0, True), (281.0, False)])
def test_recomputing_is_judged_by_the_same_plan_without(time_ms: float, met: bool) -> None:
    (verdict,) = judge(summary(times_ms=(400.0, 300.0, 200.0, time_ms)))
    assert verdict.met is met


def test_it_is_judged_at_10_000_steps_alone() -> None:
    assert LONG in SCALING.shapes
    assert not [own for shape in SCALING.shapes if shape != LONG for own in judge(summary(shape))]
