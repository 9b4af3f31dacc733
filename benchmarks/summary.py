"""From rounds to the numbers of a table: medians, ratios and the ideal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, NamedTuple

from benchmarks.driver import undisturbed
from benchmarks.plans import schedule_of
from benchmarks.samples import Round, ShapeRun, Step
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from benchmarks.variants import Pipeline
from gru_parallel.placement import Plan
from gru_parallel.schedule import Action, Timeline, simulate


class Quartiles(NamedTuple):
    """Median and quartiles of several numbers."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class PipelineNumbers:
    """What only a pipeline has.

    Attributes:
        bubble: measured idle share of the stages, median of the steps.
        ideal_bubble: the same share if all actions took the same time.
        ideal_ms: how long a step of its measured cells would take with no engine.
        over_ideal: measured step over that.
        bare_cpu_ms: CPU time of the same cells called directly, median of the steps.
        added_cpu: what the step takes above that, as a share of it; each step against the bare
            cells right after it, then the median.
        engine_cpu: the part of `added_cpu` that the step spends outside its own F, B and W. The
            rest is those themselves, which take longer while another stage keeps a core busy.
        simulated_bubble: that of the schedule with the measured actions; None in older results.
    """

    bubble: float
    ideal_bubble: float
    ideal_ms: float
    over_ideal: float
    bare_cpu_ms: float
    added_cpu: float
    engine_cpu: float
    simulated_bubble: float | None = None


@dataclass(frozen=True)
class Row:
    """One variant's line of the table of a shape.

    Attributes:
        name: the variant's.
        wall_ms: median over the steps.
        cpu_ms: median over the steps.
        speedup: wall time of the best baseline, such as the better nn.GRU, over this one's; in each
            round, then the median.
        speedup_low: a quarter of the rounds have less.
        speedup_high: a quarter of the rounds have more.
        pipeline: None where the step was timed and nothing else.
        rounds_ms: wall time in each round kept, median of its steps, so that any two rows can be
            compared round by round; () in older results.
        rounds_cpu_ms: CPU time in each round kept, likewise.
        system: what ran it, without the plan; "" in older results.
    """

    name: str
    wall_ms: float
    cpu_ms: float
    speedup: float
    speedup_low: float
    speedup_high: float
    pipeline: PipelineNumbers | None
    rounds_ms: tuple[float, ...] = ()
    rounds_cpu_ms: tuple[float, ...] = ()
    system: str = ""

    @property
    def plan_name(self) -> str:
        """How it cuts and orders the step."""
        return self.name.removeprefix(self.system).strip()

    def speedup_over(self, other: Row) -> Quartiles:
        """Return the other's wall time over this one's, over the rounds that both come from."""
        return _ratio(other.rounds_ms, self.rounds_ms)

    def cpu_of(self, other: Row) -> Quartiles:
        """Return this one's CPU time over the other's, over the rounds that both come from."""
        return _ratio(self.rounds_cpu_ms, other.rounds_cpu_ms)


@dataclass(frozen=True)
class Tried:
    """A plan that ran once.

    Attributes:
        system: what ran it.
        plan_name: how it cut and ordered the step.
        wall_ms: of the step.
        cpu_ms: of the step.
        peak_bytes: of each process, what a step added to its memory at most; () where unknown.
    """

    system: str
    plan_name: str
    wall_ms: float
    cpu_ms: float
    peak_bytes: tuple[int, ...]


@dataclass(frozen=True)
class ShapeSummary:
    """All that is reported of a shape.

    Attributes:
        shape: the size of the step.
        rows: one a variant.
        n_wanted: undisturbed rounds asked for.
        n_kept: rounds that the numbers come from.
        n_run: rounds run.
        stolen: share of the machine's time lost to other guests in each round run; () if unknown.
        others: share that other processes took, median of the rounds kept; None where unknown.
        disturbed: whether no round was undisturbed, so that the numbers come from disturbed ones.
        tried: every plan, from the round in which the rows were chosen; () where none were.
    """

    shape: Shape
    rows: tuple[Row, ...]
    n_wanted: int
    n_kept: int
    n_run: int
    stolen: tuple[float, ...]
    others: float | None
    disturbed: bool
    tried: tuple[Tried, ...] = ()


def summarise(run: ShapeRun) -> ShapeSummary:
    """Work out the numbers of a shape.

    Args:
        run: its rounds, at least one.

    Returns:
        The summary, from the undisturbed rounds; where there is none, from all, marked `disturbed`.
    """
    kept = undisturbed(run.rounds)
    rounds = kept or run.rounds
    others = [r.others for r in rounds if r.others is not None]
    return ShapeSummary(
        shape=run.shape,
        rows=tuple(_row(variant, run, rounds) for variant in run.variants),
        n_wanted=run.wanted,
        n_kept=len(rounds),
        n_run=len(run.rounds),
        stolen=tuple(r.stolen for r in run.rounds if r.stolen is not None),
        others=median(others) if others else None,
        disturbed=not kept,
        tried=() if run.tried is None else tuple(_tried(run.tried)),
    )


def read_summary(entries: Mapping[str, Any]) -> ShapeSummary:
    """Read a summary from what `dataclasses.asdict` made of it."""
    changed = {
        "shape": Shape(**entries["shape"]),
        "rows": tuple(_read_row(row) for row in entries["rows"]),
        "stolen": tuple(entries["stolen"]),
        "tried": tuple(
            Tried(**{**tried, "peak_bytes": tuple(tried["peak_bytes"])})
            for tried in entries.get("tried", ())
        ),
    }
    return ShapeSummary(**{**entries, **changed})


def _read_row(entries: Mapping[str, Any]) -> Row:
    numbers = entries["pipeline"]
    changed = {
        "pipeline": None if numbers is None else PipelineNumbers(**numbers),
        "rounds_ms": tuple(entries.get("rounds_ms", ())),
        "rounds_cpu_ms": tuple(entries.get("rounds_cpu_ms", ())),
    }
    return Row(**{**entries, **changed})


def ideal_step(plan: Plan, cells_ms: Sequence[Mapping[Action, float]]) -> Timeline:
    """Simulate the plan's schedule with the median duration of each action; hand-overs are free.

    Args:
        plan: what was measured.
        cells_ms: the durations of every F, B and W, one mapping per step.
    """
    cost_ms = {action: median(cells[action] for cells in cells_ms) for action in cells_ms[0]}
    return simulate(schedule_of(plan), cost_ms.__getitem__)


def _row(variant: Variant, run: ShapeRun, rounds: Sequence[Round]) -> Row:
    steps = _steps(variant, rounds)
    wall_ms = median(step.wall_ms for step in steps)
    low, middle, high = quartiles(_speedups(variant, _best_baseline(run, rounds), rounds))
    return Row(
        name=variant.name,
        wall_ms=wall_ms,
        cpu_ms=median(step.cpu_ms for step in steps),
        speedup=middle,
        speedup_low=low,
        speedup_high=high,
        pipeline=_pipeline_numbers(variant, run.shape, steps, wall_ms)
        if isinstance(variant, Pipeline)
        else None,
        rounds_ms=tuple(_round_ms(variant, r) for r in rounds),
        rounds_cpu_ms=tuple(median(step.cpu_ms for step in r.turns[variant].steps) for r in rounds),
        system=variant.system,
    )


def _tried(only: Round) -> Iterator[Tried]:
    for variant, turn in only.turns.items():
        (step,) = turn.steps
        yield Tried(variant.system, variant.plan_name, step.wall_ms, step.cpu_ms, turn.peak_bytes)


def _pipeline_numbers(
    variant: Pipeline, shape: Shape, steps: Sequence[Step], wall_ms: float
) -> PipelineNumbers:
    pairs = [(step.cpu_ms, step.pipeline) for step in steps if step.pipeline is not None]
    ideal = ideal_step(variant.plan(shape), [own.cells_ms for _, own in pairs])
    return PipelineNumbers(
        bubble=median(own.bubble for _, own in pairs),
        ideal_bubble=variant.ideal_bubble(shape),
        ideal_ms=ideal.step_ms,
        over_ideal=wall_ms / ideal.step_ms,
        bare_cpu_ms=median(own.bare_cpu_ms for _, own in pairs),
        added_cpu=median(cpu_ms / own.bare_cpu_ms - 1 for cpu_ms, own in pairs),
        engine_cpu=median((cpu_ms - own.cells_cpu_ms) / own.bare_cpu_ms for cpu_ms, own in pairs),
        simulated_bubble=ideal.bubble,
    )


def _steps(variant: Variant, rounds: Sequence[Round]) -> list[Step]:
    return [step for r in rounds for step in r.turns[variant].steps]


def _best_baseline(run: ShapeRun, rounds: Sequence[Round]) -> Variant:
    """The one with the smallest median wall time, of those that speed is measured against."""
    baselines = [variant for variant in run.variants if variant.is_baseline]
    return min(baselines, key=lambda v: median(step.wall_ms for step in _steps(v, rounds)))


def _speedups(variant: Variant, against: Variant, rounds: Sequence[Round]) -> list[float]:
    return [_round_ms(against, r) / _round_ms(variant, r) for r in rounds]


def _round_ms(variant: Variant, r: Round) -> float:
    return median(step.wall_ms for step in r.turns[variant].steps)


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Quartiles:
    return quartiles([a / b for a, b in zip(numerators, denominators, strict=True)])


def quartiles(values: Sequence[float]) -> Quartiles:
    """Return median and quartiles of one number or more."""
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*quantiles(values, n=4, method="inclusive"))
