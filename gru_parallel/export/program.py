"""A model as a program of `torch.export`, for any number of rows and steps, written and read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from gru_parallel.errors import UsageError
from gru_parallel.export.forecaster import Forecaster, InUnits, Part
from gru_parallel.export.formats import NAMES
from gru_parallel.export.read_back import Comparison, compare
from gru_parallel.export.trained import Trained
from gru_parallel.model import WindowView

ABOUT = "about.json"
"""Name of the description inside the file."""


def write_program(trained: Trained, folder: Path, *, scaling: bool) -> Comparison:
    """Write the program, read it back and compare what it computes.

    Args:
        trained: the model.
        folder: to write into.
        scaling: whether the program takes and gives the units of the series.
    """
    path = folder / NAMES["torch_export"]
    about = json.dumps(trained.about(in_units=scaling))
    program = export_program(trained, scaling=scaling)
    torch.export.save(program, path, extra_files={ABOUT: about})
    forecast = torch.export.load(path).module()

    def read(x: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return (forecast(x), None) if h_0 is None else forecast(x, h_0)

    return compare(read, trained, in_units=scaling)


def export_program(trained: Trained, *, scaling: bool) -> ExportedProgram:
    """Trace a model into a program with a dynamic batch and time.

    torch knows the shapes of what `nn.GRU` gives out by unrolling its loop, which fixes the number
    of steps. So a stand-in is traced whose shapes are known, and torch's operator, which has the
    same arguments, takes its place in the graph.

    Raises:
        UsageError: windows are of one segment alone.
    """
    view = trained.model.view or WindowView()
    if trained.input_length == view.segment_length > 1:
        raise UsageError(
            f"format=torch_export needs windows of two segments at least, and data.input_length="
            f"{trained.input_length} is one (model.segment_length={view.segment_length}):"
            " torch.export takes a size of 1 for a constant; use torch, safetensors or onnx."
        )
    forecaster = _Traceable(trained)
    whole = InUnits(forecaster, trained.scaling) if scaling else forecaster
    batch = Dim("batch")
    length, n_channels = view.segment_length, view.n_channels or 1
    time = Dim("time") if length == 1 else length * Dim("segments")
    n_steps, n_columns = max(trained.input_length // length, 3) * length, len(trained.columns)
    windows = torch.zeros(2, n_steps, n_columns, dtype=torch.float64 if scaling else trained.dtype)
    example: tuple[Tensor, ...] = (windows,)
    shapes: tuple[dict[int, Dim], ...] = ({0: batch, 1: time},)
    gru = trained.model.gru
    if gru.carries:
        states = gru.n_states, 2 * n_channels, gru.hidden_size
        example += (torch.zeros(states, dtype=trained.dtype),)
        shapes += ({1: batch if n_channels == 1 else n_channels * batch},)
    with torch.no_grad():
        program = torch.export.export(whole, example, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        if node.target is torch.ops.gru_parallel.gru.default:
            node.target = torch.ops.aten.gru.input
    program.graph_module.recompile()
    return program


class _Traceable(Forecaster):
    """A forecaster in which the stand-in takes the place of `nn.GRU`."""

    def run(self, part: Part, y: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor]:
        gru = self.gru_of(part)
        if h_0 is None:
            h_0 = y.new_zeros(part.n_states, y.shape[0], gru.hidden_size)
        weights = [weight for layer in gru.all_weights for weight in layer]
        found: tuple[Tensor, Tensor] = _gru(
            y, h_0, weights, gru.bias, gru.num_layers, 0.0, False, gru.bidirectional, True
        )
        return found


@torch.library.custom_op(
    "gru_parallel::gru",
    mutates_args=(),
    schema="(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers,"
    " float dropout, bool train, bool bidirectional, bool batch_first) -> (Tensor, Tensor)",
)
def _gru(x: Tensor, h_0: Tensor, *options: object) -> tuple[Tensor, Tensor]:
    raise NotImplementedError("stands in for torch.ops.aten.gru.input while a graph is traced")


@_gru.register_fake
def _shapes(x: Tensor, h_0: Tensor, *options: object) -> tuple[Tensor, Tensor]:
    *_, bidirectional, _ = options
    n_features = h_0.shape[2] * (2 if bidirectional else 1)
    return x.new_empty(x.shape[0], x.shape[1], n_features), torch.empty_like(h_0)
