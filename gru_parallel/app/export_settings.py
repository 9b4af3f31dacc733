"""The settings of `export`, and what --help prints about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gru_parallel.app.use_line import RUN_HELP, UseSettings
from gru_parallel.export.formats import PROGRAMS, WEIGHTS
from gru_parallel.rules import one_of

EXPORT_HELP = f"""gru-parallel export run=DIR format=FORMAT [setting=value ...]

Writes the model of a run for others to use. What is written is read back and compared with the
model; the largest difference and what is allowed are printed. A JSON file beside it says what goes
in and what comes out: columns, targets, mean, scale.

format=torch           model.pt, a state dict for nn.GRU, encoder and head, and load_pt.py, which
                       loads it and forecasts with PyTorch alone
format=safetensors     the same as model.safetensors, with load_safetensors.py
format=torch_export    model.pt2, a program for torch.export.load, for any batch and any length
format=onnx            model.onnx, the same for ONNX; needs pip install 'gru-parallel[onnx]'

{RUN_HELP}
scaling=false       true: a program takes windows and gives forecasts in the units of the series, in
                    float64; false: standardised ones. The scripts always use the units
output=DIR          folder to write into; null: export/ in the folder of the run"""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(UseSettings):
    """The settings of `python -m gru_parallel.export`.

    Attributes:
        format: what is written, one of `WEIGHTS` or `PROGRAMS`.
        scaling: whether a program takes and gives the units of the series.
        output: the folder to write into; None for export/ in the folder of the run.
    """

    format: Annotated[str, one_of(*WEIGHTS, *PROGRAMS)]
    scaling: bool = False
    output: str | None = None
