"""The ONNX graph of a forecaster, built node by node: nothing is traced, so no length is frozen."""

from __future__ import annotations

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from gru_parallel.choices import LEAST_VARIANCE
from gru_parallel.export.forecaster import Forecaster
from gru_parallel.export.onnx_nodes import LAST, OnnxNodes, as_float32
from gru_parallel.export.onnx_output import exported_numbers
from gru_parallel.export.onnx_stack import add_stack
from gru_parallel.export.trained import Scaling
from gru_parallel.model import StepEncoder, WindowView
from gru_parallel.version import __version__

OPSET, IR_VERSION = 17, 8
"""Of 2022: what has been read since then, and has all that is needed here."""


def onnx_model(forecaster: Forecaster, scaling: Scaling | None, about: str) -> ModelProto:
    """Build the model.

    Its input `x`, shape `(batch, time, columns)`, and its output `forecast` are float32, or with a
    scaling float64 and in the units of the series. Where layers carry their state there are also
    `h_0` and `h_n`, float32 of shape `(n_states, batch, hidden_size)`.

    Args:
        forecaster: of standardised windows; its weights become float32, since onnxruntime has no
            GRU of another type.
        scaling: of the series; None for standardised windows and forecasts.
        about: a description that goes into the model's metadata.
    """
    nodes = OnnxNodes()
    _Builder(forecaster, nodes).forecast(scaling)
    kind = TensorProto.FLOAT if scaling is None else TensorProto.DOUBLE
    n_rows = "batch" if forecaster.view.n_channels is None else "rows"
    states = (forecaster.n_states, n_rows, forecaster.hidden_size)
    inputs = [helper.make_tensor_value_info("x", kind, ["batch", "time", forecaster.n_columns])]
    n_steps = "time" if forecaster.every_step else forecaster.output_shape[0]
    n_numbers = len(forecaster.output.exported_names)
    shape = ["batch", n_steps, len(forecaster.targets), *([n_numbers] if n_numbers else [])]
    outputs = [helper.make_tensor_value_info("forecast", kind, shape)]
    if forecaster.carries:
        inputs.append(helper.make_tensor_value_info("h_0", TensorProto.FLOAT, states))
        outputs.append(helper.make_tensor_value_info("h_n", TensorProto.FLOAT, states))
    graph = helper.make_graph(nodes.nodes, "forecast", inputs, outputs, nodes.constants)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gru_parallel",
        producer_version=__version__,
    )
    helper.set_model_props(model, {"gru_parallel": about})
    return model


class _Builder:
    """Adds the parts of a graph around its stack; methods return the names of values."""

    def __init__(self, forecaster: Forecaster, nodes: OnnxNodes) -> None:
        self._forecaster = forecaster
        self._add = nodes

    def forecast(self, scaling: Scaling | None) -> None:
        """Add everything from `x` to `forecast`."""
        model = self._forecaster
        x = "x" if scaling is None else self._standardised(scaling)
        y, anchor, scale = self._centred(x)
        y = self._add.node("Transpose", self._rows(y), perm=[1, 0, 2])
        y = self._encoded(y)
        scores = self._scores(*add_stack(self._add, model, y, self._after()))
        numbers = exported_numbers(model.output, scores, self._add.node, self._add.constant)
        is_dispersion = [name == "dispersion" for name in model.output.exported_names] or [False]
        numbers = [
            self._at_level(self._of_windows(number), anchor, scale, scaling, is_root=is_root)
            for number, is_root in zip(numbers, is_dispersion, strict=True)
        ]
        if not model.output.exported_names:
            self._add.node("Identity", *numbers, output="forecast")
            return
        last = self._add.constant(np.array([3]))
        several = [self._add.node("Unsqueeze", number, last) for number in numbers]
        self._add.node("Concat", *several, output="forecast", axis=3)

    def _at_level(
        self, y: str, anchor: str, scale: str, scaling: Scaling | None, *, is_root: bool
    ) -> str:
        """Bring numbers of a forecast back to the level of their windows, and to units.

        Args:
            y: shape (batch, time, targets).
            anchor: of all columns; "" for none.
            scale: of all columns; "" for none.
            scaling: of the series; None for none.
            is_root: whether they are divided by the root of the scale, as a dispersion is.
        """
        targets = self._add.constant(np.array(self._forecaster.targets))
        if scale:
            scale = self._add.node("Gather", scale, targets, axis=2)
            if is_root:
                y = self._add.node("Div", y, self._add.node("Sqrt", scale))
            else:
                y = self._add.node("Mul", y, scale)
        if anchor:
            y = self._add.node("Add", y, self._add.node("Gather", anchor, targets, axis=2))
        return y if scaling is None else self._in_units(y, scaling)

    def _centred(self, x: str) -> tuple[str, str, str]:
        """Add what `centred_by` does; "" for an anchor, or a scale, that is not there."""
        centre = self._forecaster.centre
        if centre == "none":
            return x, "", ""
        if centre == "last":
            anchor = self._add.slice(x, -1, LAST, axis=1)
            return self._add.node("Sub", x, anchor), anchor, ""
        if centre == "scale":
            mean = self._add.node("ReduceMean", self._add.node("Abs", x), axes=[1], keepdims=1)
            scale = self._add.node("Add", mean, self._add.constant(np.array(1, np.float32)))
            return self._add.node("Div", x, scale), "", scale
        anchor = self._add.node("ReduceMean", x, axes=[1], keepdims=1)
        centred = self._add.node("Sub", x, anchor)
        squares = self._add.node("Mul", centred, centred)
        variance = self._add.node("ReduceMean", squares, axes=[1], keepdims=1)
        least = self._add.constant(np.array(LEAST_VARIANCE, dtype=np.float32))
        scale = self._add.node("Sqrt", self._add.node("Add", variance, least))
        return self._add.node("Div", centred, scale), anchor, scale

    def _rows(self, x: str) -> str:
        """Make rows and steps of windows, see `WindowView`; both (batch, time, features)."""
        view, n_features = self._forecaster.view, self._forecaster.n_columns
        if view == WindowView():
            return x
        if view.n_channels is not None:
            # A zero keeps the size that is there: the batch.
            x, n_features = self._add.node("Transpose", x, perm=[0, 2, 1]), 1
        length, one = view.segment_length, self._add.constant(np.array([-1]))
        n_steps = self._add.node("Shape", "x", start=1, end=2)
        n_steps = self._add.node("Div", n_steps, self._add.constant(np.array([length])))
        width = self._add.constant(np.array([length * n_features]))
        return self._add.node("Reshape", x, self._add.node("Concat", one, n_steps, width, axis=0))

    def _encoded(self, y: str) -> str:
        """Add the encoder; y is time first."""
        encoder = self._forecaster.encoder
        if isinstance(encoder, nn.Linear):
            return self._add.linear(y, encoder, "encoder")
        if not isinstance(encoder, StepEncoder):
            return y
        y = self._add.linear(y, encoder.linear, "encoder")
        if encoder.has_relu:
            y = self._add.node("Relu", y)
        if encoder.channels is None or encoder.places is not None:
            return y
        return self._add.node("Add", y, self._for_each_window(encoder.channels.weight))

    def _after(self) -> str:
        """Return the encoded steps after the windows as rows of one step; "" for none."""
        encoder = self._forecaster.encoder
        if not isinstance(encoder, StepEncoder) or encoder.places is None:
            return ""
        of_window: Tensor = encoder.places.weight
        if encoder.channels is not None:
            channels = encoder.channels.weight
            of_channels = channels.repeat_interleave(len(of_window), 0)
            of_window = torch.cat([of_window.repeat(len(channels), 1), of_channels], 1)
        zero = self._add.constant(np.array([0]))
        return self._add.node("Unsqueeze", self._for_each_window(of_window), zero)

    def _scores(self, y: str, after: str) -> str:
        """Add the head, from the outputs of the stack, time first."""
        model = self._forecaster
        if model.every_step:
            y = self._add.node("Transpose", self._add.linear(y, model.head, "head"), perm=[1, 0, 2])
        elif not after:
            last = self._add.node("Gather", y, self._add.constant(np.array(-1)), axis=0)
            y = self._add.linear(last, model.head, "head")
            # A zero keeps the size that is there: the batch.
            y = self._add.node("Reshape", y, self._add.constant(np.array([0, *model.output_shape])))
        else:
            horizon, n_targets = model.output_shape
            n_rows_ahead = model.n_decoding * model.head.out_features // n_targets
            y = self._add.linear(after, model.head, "head")
            y = self._add.node(
                "Reshape", y, self._add.constant(np.array([-1, n_rows_ahead, n_targets]))
            )
            y = self._add.slice(y, 0, horizon, axis=1)
        return y

    def _of_windows(self, y: str) -> str:
        """Make of forecasts of rows those of windows, see `WindowView`."""
        model = self._forecaster
        if model.view.n_channels is None:
            return y
        n_steps = self._add.node("Shape", y, start=1, end=2)
        sizes = (self._add.constant(np.array([n])) for n in (-1, model.view.n_channels))
        y = self._add.node("Reshape", y, self._add.node("Concat", *sizes, n_steps, axis=0))
        return self._add.node("Transpose", y, perm=[0, 2, 1])

    def _standardised(self, scaling: Scaling) -> str:
        centred = self._add.node("Sub", "x", self._add.constant(scaling.mean.numpy()))
        standardised = self._add.node("Div", centred, self._add.constant(scaling.scale.numpy()))
        return self._add.node("Cast", standardised, to=TensorProto.FLOAT)

    def _in_units(self, forecast: str, scaling: Scaling) -> str:
        targets = list(scaling.targets)
        mean, scale = scaling.mean[targets].numpy(), scaling.scale[targets].numpy()
        y = self._add.node("Cast", forecast, to=TensorProto.DOUBLE)
        y = self._add.node("Mul", y, self._add.constant(scale))
        return self._add.node("Add", y, self._add.constant(mean))

    def _for_each_window(self, rows: Tensor) -> str:
        """Repeat some rows, (rows, features), for each window of the batch."""
        n_windows = self._add.node("Shape", "x", start=0, end=1)
        counts = self._add.node("Concat", n_windows, self._add.constant(np.array([1])), axis=0)
        return self._add.node("Tile", self._add.constant(as_float32(rows)), counts)
