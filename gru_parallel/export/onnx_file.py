"""A model as an ONNX file, written, checked, and read with onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor

from gru_parallel.export.forecaster import Forecaster
from gru_parallel.export.formats import NAMES
from gru_parallel.export.onnx_graph import onnx_model
from gru_parallel.export.read_back import Comparison, compare
from gru_parallel.export.trained import Trained

MOST_BYTES_IN_ONE_FILE = 2**31 - 2**20
"""What protobuf can hold, less some room for the graph; larger weights go into a second file."""


def write_onnx(trained: Trained, folder: Path, *, scaling: bool) -> Comparison:
    """Write the file, check it, and compare what onnxruntime computes from it.

    Args:
        trained: the model.
        folder: to write into.
        scaling: whether the program takes and gives the units of the series.
    """
    forecaster = Forecaster(trained)
    about = json.dumps(trained.about(in_units=scaling))
    model = onnx_model(forecaster, trained.scaling if scaling else None, about)
    path = folder / NAMES["onnx"]
    n_bytes = sum(weight.numel() * 4 for weight in forecaster.state_dict().values())
    onnx.save_model(
        model,
        path,
        save_as_external_data=n_bytes > MOST_BYTES_IN_ONE_FILE,
        location=f"{path.name}.data",
    )
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def read(x: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor | None]:
        given = {"x": (x if scaling else x.float()).numpy()}
        if h_0 is not None:
            given["h_0"] = h_0.float().numpy()
        forecast, *h_n = map(torch.from_numpy, session.run(None, given))
        return forecast, h_n[0] if h_n else None

    return compare(read, trained, in_units=scaling, dtype=torch.float32)
