"""What a person reads of a run: plan table, results, summary file, pictures, trace file, page.

What `verify` prints is in `report.verification`, which needs torch; the picture of a step is in
`report.step_picture`, which needs matplotlib, and the page in `report.page`, which needs plotly.
"""

from gru_parallel.report.epoch_line import epoch_line
from gru_parallel.report.evaluation import Evaluation
from gru_parallel.report.outcome import Promise, StageOutcome, slow_stages, stage_outcomes
from gru_parallel.report.outcome_table import outcome_table
from gru_parallel.report.pace_line import pace_line
from gru_parallel.report.plan_table import plan_table
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.summary import Summary, results_table

__all__ = [
    "Evaluation",
    "Promise",
    "RunResult",
    "StageOutcome",
    "Summary",
    "epoch_line",
    "outcome_table",
    "pace_line",
    "plan_table",
    "results_table",
    "slow_stages",
    "stage_outcomes",
]
