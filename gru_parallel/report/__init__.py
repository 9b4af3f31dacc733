"""What a person reads of a run: plan table, results, summary file, timeline picture, trace file.

What `verify` prints is in `report.verification`, apart: it needs torch, and nothing here does.
"""

from gru_parallel.report.epoch_line import epoch_line
from gru_parallel.report.plan_table import plan_table
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.summary import Summary, results_table
from gru_parallel.report.timeline_picture import draw_step, draw_timeline, timeline_figure

__all__ = [
    "RunResult",
    "Summary",
    "draw_step",
    "draw_timeline",
    "epoch_line",
    "plan_table",
    "results_table",
    "timeline_figure",
]
