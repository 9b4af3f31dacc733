"""Schedules: who does what when. Pure Python; nothing in here needs torch."""

from gru_parallel.schedule.action import Action, Cell, Op, activity, partner
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.lower import computed_only, lower
from gru_parallel.schedule.registry import SCHEDULES, backward_only, build_schedule, forward_only
from gru_parallel.schedule.schedule import Schedule, needs
from gru_parallel.schedule.segments import Segments, segments_of
from gru_parallel.schedule.simulate import Pool, simulate, turns
from gru_parallel.schedule.timeline import Event, Timeline
from gru_parallel.schedule.validate import validate

__all__ = [
    "SCHEDULES",
    "Action",
    "Cell",
    "Event",
    "Op",
    "Pool",
    "Schedule",
    "Segments",
    "Timeline",
    "activity",
    "backward_only",
    "build_schedule",
    "computed_only",
    "draw_lists",
    "forward_only",
    "lower",
    "needs",
    "partner",
    "segments_of",
    "simulate",
    "turns",
    "validate",
]
