"""Puts what a plan has chosen in the place of the settings that left it open."""

from __future__ import annotations

from dataclasses import replace

from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.placement import Plan


def settled(config: Config, plan: Plan) -> Config:
    """Return the settings with what the plan says in the place of auto."""
    grid = plan.grid
    engine = config.engine
    if isinstance(engine, ProcessesConfig):
        engine = replace(engine, data_parallel=plan.data_parallel)
    return replace(
        config,
        model=replace(config.model, core=plan.core),
        schedule=replace(
            config.schedule,
            name=grid.schedule,
            n_micro_batches=grid.n_micro_batches,
            n_chunks=grid.n_chunks,
            truncate=grid.truncate,
            recompute=grid.recompute,
        ),
        engine=engine,
    )
