"""From a search to the plan that is taken: by predictions, or by what the best plans took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.planning import Planned, Problem
from gru_parallel.planning.profile import MeasuredCosts, Trial
from gru_parallel.planning.trials import try_plans
from gru_parallel.profiling.cache import store_profile


def trials_of(config: Config, widths: Widths, problem: Problem, best: Planned) -> tuple[Trial, ...]:
    """Run the plans that could be the fastest, with plan=measure, and keep what they took.

    Args:
        config: the run's settings.
        widths: of the windows.
        problem: that is to be solved.
        best: by predictions.

    Returns:
        The trials: those of now, or with plan=cached those that were kept; none where nothing is
        measured, there is no choice, or devices are those of ranks, which hand over otherwise.
    """
    costs = problem.costs
    if not isinstance(costs, MeasuredCosts) or costs.of_ranks:
        return ()
    if config.plan != "measure":
        return costs.profile.trials

    def run(tried: Sequence[Planned]) -> tuple[Trial, ...]:
        # Not at the top: it is with torch, which a plan need not have.
        from gru_parallel.assembly.measured import measure_trials

        return measure_trials(config, widths, tried)

    trials = try_plans(problem, best, run)
    if trials:
        store_profile(replace(costs.profile, trials=trials))
    return trials
