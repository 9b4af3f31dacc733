"""What a person reads of a run: plan table, results, summary file, timeline picture, trace file.

What `verify` prints is in `report.verification`, which needs torch, and the picture is in
`report.timeline_picture`, which needs matplotlib.
"""

from gru_parallel.report.epoch_line import epoch_line
from gru_parallel.report.plan_table import plan_table
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.summary import Summary, results_table

__all__ = [
    "RunResult",
    "Summary",
    "epoch_line",
    "plan_table",
    "results_table",
]
