"""Weights for `nn.GRU`, encoder and head, with the script that loads them, written and read."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from shutil import copymode

import torch
from safetensors.torch import save_file
from torch import Tensor

from gru_parallel.export.forecaster import Forecaster
from gru_parallel.export.formats import NAMES
from gru_parallel.export.read_back import Comparison, compare
from gru_parallel.export.script import script
from gru_parallel.export.trained import Trained

SCRIPT = {"torch": "load_pt.py", "safetensors": "load_safetensors.py"}


def write_weights(trained: Trained, kind: str, folder: Path) -> Comparison:
    """Write the weights and the script, run the script, and compare its forecasts.

    Args:
        trained: the model.
        kind: "torch" or "safetensors".
        folder: to write into; it has the description already.
    """
    forecaster = Forecaster(trained)
    name = NAMES[kind]
    if kind == "torch":
        torch.save(forecaster.weights(), folder / name)
    else:
        about = json.dumps(trained.about(in_units=True))
        metadata = {"format": "pt", "gru_parallel": about}
        save_file(forecaster.weights(), folder / name, metadata)
        # safetensors 0.8 lets nobody else read its files, whatever the umask.
        copymode(folder / f"{name}.json", folder / name)
    path = folder / SCRIPT[kind]
    path.write_text(script(forecaster, name), encoding="utf-8")
    forecast = runpy.run_path(str(path))["forecast"]

    def read(x: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return forecast(x, h_0) if forecaster.carries else (forecast(x), None)

    return compare(read, trained, in_units=True)
