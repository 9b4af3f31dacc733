from benchmarks.packed import PACKED, tables
from benchmarks.samples import Round, ShapeRun, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variant import Variant
from benchmarks.variants import DropIn, RaggedGRU

SHAPE = Shape(hidden_size=128, batch_size=32, n_steps=128, num_layers=4)
PACKED_GRU, PADDED_GRU = RaggedGRU(1), RaggedGRU(1, padded=True)
SLOWER, FASTER = DropIn(4, 4), DropIn(1, 8)


def summary(faster_ms: float) -> ShapeSummary:
    times_ms: dict[Variant, float] = {
        PACKED_GRU: 200.0,
        PADDED_GRU: 50.0,
        SLOWER: 400.0,
        FASTER: faster_ms,
    }
    turns = {variant: Turn((Step(ms, ms),), ms) for variant, ms in times_ms.items()}
    return summarise(ShapeRun(SHAPE, tuple(times_ms), (Round(turns, 0.0, 0.0),), 1))


def test_speed_is_measured_against_nn_gru_on_the_packed_sequence_alone() -> None:
    packed, padded, slower, faster = summary(100.0).rows
    assert (packed.speedup, padded.speedup) == (1.0, 4.0)
    assert (slower.speedup, faster.speedup) == (0.5, 2.0)


def test_the_target_is_judged_by_the_fastest_drop_in() -> None:
    lengths, target = tables([summary(100.0)])
    assert lengths.title.endswith("lengths 1 to 128")
    assert len(lengths.rows) == 4
    assert target.rows[0][2:] == ("2.00 x (gru_parallel.GRU 2 stages M=1 C=8)", "met")


def test_a_drop_in_that_is_not_faster_misses_the_target() -> None:
    _, target = tables([summary(200.0)])
    assert target.rows[0][-1] == "MISSED"


def test_the_quick_run_measures_a_part_of_the_full_one_and_all_of_it_fits() -> None:
    assert set(PACKED.quick_variants) < set(PACKED.variants)
    assert all(variant.fits(PACKED.quick_shape) for variant in PACKED.quick_variants)
