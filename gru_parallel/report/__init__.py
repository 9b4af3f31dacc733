"""What a person reads of a run: plan table, results, summary file, timeline picture, trace file.

What `verify` prints is in `report.verification`, by itself: it needs torch, and nothing here does.
"""

from gru_parallel.report.epoch_line import epoch_line
from gru_parallel.report.plan_table import plan_table
from gru_parallel.report.summary import Summary, results_table, write_summary
from gru_parallel.report.timeline_picture import draw_timeline, timeline_figure
from gru_parallel.report.trace_file import write_trace

__all__ = [
    "Summary",
    "draw_timeline",
    "epoch_line",
    "plan_table",
    "results_table",
    "timeline_figure",
    "write_summary",
    "write_trace",
]
