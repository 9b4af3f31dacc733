"""The settings of `predict`, and what --help prints about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gru_parallel.app.use_line import OVERRIDES_HELP, RUN_HELP, UseSettings
from gru_parallel.rules import Rule

PREDICT_HELP = f"""gru-parallel predict run=DIR [data.path=FILE] [setting=value ...]

Forecasts from the end of each series with the model of a run, in the units of the series, and
writes a row for each forecast value: unique_id, ds, cutoff, target (if there are several), y_hat,
and y where cutoffs are given. The file is read in pieces, and may be larger than memory. A picture
of some forecasts is written beside it.

{RUN_HELP}
output=FILE         .csv or .parquet; null: predictions/forecasts.csv in the folder of the run; the
                    picture has the same name with .png
cutoffs=[DATE,...]  the last moments that are known to the forecasts, as [2016-07-01T12:00], in
                    place of the end of each series; numbers where the times are numbers
names={{y_hat: GRU}}  other names for columns

{OVERRIDES_HELP}"""

Cutoffs = Annotated[
    Any,
    Rule(
        "is not a list of moments; write cutoffs=[2016-07-01,2016-07-02].",
        lambda v: not isinstance(v, dict | bool),
    ),
]

Names = Annotated[
    Any,
    Rule(
        "gives columns no names; write names={y_hat: GRU, ds: date}.",
        lambda v: isinstance(v, dict) and all(isinstance(name, str) for name in v.values()),
    ),
]


@dataclass(frozen=True)
class PredictSettings(UseSettings):
    """The settings of `python -m gru_parallel.predict`.

    Attributes:
        output: the file to write; None for predictions/forecasts.csv in the folder of the run.
        cutoffs: the last moments that are known to the forecasts; None for the end of each series.
        names: of columns, by their names by default; None for these.
    """

    output: str | None = None
    cutoffs: Cutoffs | None = None
    names: Names | None = None

    @property
    def moments(self) -> list[Any]:
        """The cutoffs, one or several; empty for the end of each series."""
        if self.cutoffs is None:
            return []
        return list(self.cutoffs) if isinstance(self.cutoffs, list) else [self.cutoffs]
