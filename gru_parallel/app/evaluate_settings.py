"""The settings of `evaluate`, and what --help prints about them."""

from __future__ import annotations

from dataclasses import dataclass

from gru_parallel.app.use_line import OVERRIDES_HELP, RUN_HELP, UseSettings

EVALUATE_HELP = f"""gru-parallel evaluate run=DIR [setting=value ...]

Tests the model of a run again, and writes evaluation.json. Without other settings that is the test
of the run, to the last digit. With data.path=FILE it is tested on all of another file, standardised
as the run's data was; with data.split=[...] on the test part of it.

{RUN_HELP}
output=DIR          folder to write into; null: evaluation/ in the folder of the run

{OVERRIDES_HELP}"""


@dataclass(frozen=True)
class EvaluateSettings(UseSettings):
    """The settings of `python -m gru_parallel.evaluate`.

    Attributes:
        output: the folder to write into; None for evaluation/ in the folder of the run.
    """

    output: str | None = None
