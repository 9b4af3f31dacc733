"""Plans one model by profiles made now, and measures the steps of all plans, in turns with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

import torch

from benchmarks.batch import draw_batch
from benchmarks.model import make_model
from benchmarks.planner.cases import TriedPlan
from benchmarks.planner.numbers import N_ROUNDS_OF_PASS, PlanNumbers, Raced, ShapeNumbers
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from gru_parallel.app.freed_memory import keep_freed_memory
from gru_parallel.assembly.cluster import local_cluster
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, Windows
from gru_parallel.placement import ModelSpec, Plan, cut_stack
from gru_parallel.planning import Options, Planned, Problem, Workload, search
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.options import chunks_up_to, micro_batches_up_to
from gru_parallel.planning.profile import MeasuredCosts, Trial
from gru_parallel.planning.trials import comparable, fastest, try_plans
from gru_parallel.profiling.measure import measure
from gru_parallel.profiling.pipelines import Precision
from gru_parallel.profiling.trials import run_trials

N_RACING = 4
"""Plans of the sweep that the chosen one races with."""
CORES = ("auto", "lean")


def measure_shape(shape: Shape, tried: Sequence[TriedPlan], n_rounds: int) -> ShapeNumbers:
    """Plan one model, and measure its plans, in passes of one profile and a few steps of each plan.

    Other guests of a shared host can slow a machine down for minutes; so profiles and steps are
    measured in turns. The chosen plan is the best one by all profiles, and races with what each
    profile and its trials have chosen, and with the plans of the sweep that took least.

    Args:
        shape: of the model.
        tried: plans of the sweep.
        n_rounds: in each of which every plan runs one step.
    """
    # As the commands do.
    keep_freed_memory()
    plans = {each: each.plan(shape) for each in tried}
    steps: dict[TriedPlan, list[float]] = {each: [] for each in plans}
    problems, profiles_s, choices = [], [], []
    candidates = dict(plans)
    for first in range(0, n_rounds, N_ROUNDS_OF_PASS):
        problem, profile_s = _problem(shape)
        problems.append(problem)
        profiles_s.append(profile_s)
        best = search(problem).best
        choice = _choice(shape, problem, best)
        for plan in (best.plan, choice):
            candidates.setdefault(TriedPlan.of(plan), plan)
        choices.append(TriedPlan.of(choice))
        _run(shape, plans, steps, min(N_ROUNDS_OF_PASS, n_rounds - first))

    def promises(plan: Plan) -> tuple[float, ...]:
        return tuple(_promised_ms(problem.planned(plan)) for problem in problems)

    analytic = replace(problems[0], costs=AnalyticCosts(problems[0].cluster))
    numbers = tuple(
        PlanNumbers(each, promises(plan), _promised_ms(analytic.planned(plan)), tuple(steps[each]))
        for each, plan in plans.items()
    )
    chosen = min(candidates, key=lambda each: median(promises(candidates[each])))
    fastest = sorted(numbers, key=lambda plan: plan.measured_ms)[:N_RACING]
    racing = dict.fromkeys([chosen, *(plan.tried for plan in fastest), *choices])
    return ShapeNumbers(
        shape,
        tuple(profiles_s),
        numbers,
        _race(shape, {each: candidates[each] for each in racing}, n_rounds),
        tuple(choices),
    )


def _choice(shape: Shape, problem: Problem, best: Planned) -> Plan:
    """Choose a plan as plan=measure does: among the best by a profile, by what they take."""
    windows = Windows(*draw_batch(shape))

    def run(tried: Sequence[Planned]) -> tuple[Trial, ...]:
        make = partial(make_model, shape)
        return run_trials(tried, make, windows, LOSSES["mse"], Precision())

    trials = try_plans(problem, best, run)
    return fastest(best, comparable(problem, best, trials)).plan


def _promised_ms(planned: Planned) -> float:
    """What a step is to take without its optimiser."""
    return planned.timeline.step_ms + planned.costs.step_ms(planned.cluster.devices[0], 0)


def _problem(shape: Shape) -> tuple[Problem, float]:
    """Say what is to be planned, by a profile made now, and how long the profile took."""
    size = shape.hidden_size
    model = ModelSpec(cut_stack(size, size, shape.num_layers), n_outputs=1)
    workload = Workload(model, shape.batch_size, shape.n_steps)
    cluster = local_cluster(["cpu:0", "cpu:1"])
    start = perf_counter()
    profile = measure(
        workload,
        cluster,
        CORES,
        key={},
        precision=Precision(),
        make_optimizer=torch.optim.SGD,
    )
    profile_s = perf_counter() - start
    options = Options(
        1,
        ("one_f_one_b", "zero_bubble"),
        micro_batches_up_to(shape.batch_size),
        chunks_up_to(shape.n_steps),
        ("none", "cell"),
        CORES,
    )
    return Problem(workload, cluster, MeasuredCosts(profile, cluster), options), profile_s


def _race(shape: Shape, plans: Mapping[TriedPlan, Plan], n_rounds: int) -> tuple[Raced, ...]:
    """Run few plans in turns, one step at a time but for one to warm up."""
    steps: dict[TriedPlan, list[float]] = {each: [] for each in plans}
    for _ in range(n_rounds):
        _run(shape, plans, steps, 1)
    return tuple(Raced(each, tuple(steps[each])) for each in plans)


def _run(
    shape: Shape,
    plans: Mapping[TriedPlan, Plan],
    steps: Mapping[TriedPlan, list[float]],
    n_rounds: int,
) -> None:
    """Run one plan after the other, as it would run alone, and add what its steps took."""
    model = make_model(shape)
    for each, plan in plans.items():
        own = make_model(shape, each.core)
        own.load_state_dict(model.state_dict())
        with ThreadEngine(own, plan, LOSSES["mse"]) as engine:
            _step(engine, shape)
            steps[each].extend(_step(engine, shape) for _ in range(n_rounds))


def _step(engine: ThreadEngine, shape: Shape) -> float:
    """Run a step, and return what it took."""
    x, y = draw_batch(shape)
    drop_gradients(engine.model.parameters())
    taken, _ = timed(lambda: engine.train_step(Windows(x, y)).backward())
    return taken
