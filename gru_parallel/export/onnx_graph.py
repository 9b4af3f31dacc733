"""The ONNX graph of a forecaster, built node by node: nothing is traced, so no length is frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gru_parallel.choices import LEAST_VARIANCE
from gru_parallel.export.forecaster import Forecaster, Part, has_bias
from gru_parallel.export.onnx_output import exported_numbers
from gru_parallel.export.trained import Scaling
from gru_parallel.model import StepEncoder, WindowView
from gru_parallel.version import __version__

OPSET, IR_VERSION = 17, 8
"""Of 2022: what has been read since then, and has all that is needed here."""

LAST = np.iinfo(np.int64).max


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
    build = _Builder(forecaster)
    build.forecast(scaling)
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
    graph = helper.make_graph(build.nodes, "forecast", inputs, outputs, build.constants)
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
    """Collects the nodes and constants of a graph; methods return the names of values."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: set[str] = set()

    def forecast(self, scaling: Scaling | None) -> None:
        """Add everything from `x` to `forecast`."""
        model = self._forecaster
        x = "x" if scaling is None else self._standardised(scaling)
        y, anchor, scale = self._centred(x)
        y = self._node("Transpose", self._rows(y), perm=[1, 0, 2])
        y = self._encoded(y)
        scores = self._scores(*self._stack(y, self._after()))
        numbers = exported_numbers(model.output, scores, self._node, self._constant)
        is_dispersion = [name == "dispersion" for name in model.output.exported_names] or [False]
        numbers = [
            self._at_level(self._of_windows(number), anchor, scale, scaling, is_root=is_root)
            for number, is_root in zip(numbers, is_dispersion, strict=True)
        ]
        if not model.output.exported_names:
            self._node("Identity", *numbers, output="forecast")
            return
        last = self._constant(np.array([3]))
        several = [self._node("Unsqueeze", number, last) for number in numbers]
        self._node("Concat", *several, output="forecast", axis=3)

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
        targets = self._constant(np.array(self._forecaster.targets))
        if scale:
            scale = self._node("Gather", scale, targets, axis=2)
            if is_root:
                y = self._node("Div", y, self._node("Sqrt", scale))
            else:
                y = self._node("Mul", y, scale)
        if anchor:
            y = self._node("Add", y, self._node("Gather", anchor, targets, axis=2))
        return y if scaling is None else self._in_units(y, scaling)

    def _centred(self, x: str) -> tuple[str, str, str]:
        """Add what `centred_by` does; "" for an anchor, or a scale, that is not there."""
        centre = self._forecaster.centre
        if centre == "none":
            return x, "", ""
        if centre == "last":
            anchor = self._slice(x, -1, LAST, axis=1)
            return self._node("Sub", x, anchor), anchor, ""
        if centre == "scale":
            mean = self._node("ReduceMean", self._node("Abs", x), axes=[1], keepdims=1)
            scale = self._node("Add", mean, self._constant(np.array(1, np.float32)))
            return self._node("Div", x, scale), "", scale
        anchor = self._node("ReduceMean", x, axes=[1], keepdims=1)
        centred = self._node("Sub", x, anchor)
        squares = self._node("Mul", centred, centred)
        variance = self._node("ReduceMean", squares, axes=[1], keepdims=1)
        least = self._constant(np.array(LEAST_VARIANCE, dtype=np.float32))
        scale = self._node("Sqrt", self._node("Add", variance, least))
        return self._node("Div", centred, scale), anchor, scale

    def _rows(self, x: str) -> str:
        """Make rows and steps of windows, see `WindowView`; both (batch, time, features)."""
        view, n_features = self._forecaster.view, self._forecaster.n_columns
        if view == WindowView():
            return x
        if view.n_channels is not None:
            # A zero keeps the size that is there: the batch.
            x, n_features = self._node("Transpose", x, perm=[0, 2, 1]), 1
        length, one = view.segment_length, self._constant(np.array([-1]))
        n_steps = self._node("Shape", "x", start=1, end=2)
        n_steps = self._node("Div", n_steps, self._constant(np.array([length])))
        width = self._constant(np.array([length * n_features]))
        return self._node("Reshape", x, self._node("Concat", one, n_steps, width, axis=0))

    def _encoded(self, y: str) -> str:
        """Add the encoder; y is time first."""
        encoder = self._forecaster.encoder
        if isinstance(encoder, nn.Linear):
            return self._linear(y, encoder, "encoder")
        if not isinstance(encoder, StepEncoder):
            return y
        y = self._linear(y, encoder.linear, "encoder")
        if encoder.has_relu:
            y = self._node("Relu", y)
        if encoder.channels is None or encoder.places is not None:
            return y
        return self._node("Add", y, self._for_each_window(encoder.channels.weight))

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
        zero = self._constant(np.array([0]))
        return self._node("Unsqueeze", self._for_each_window(of_window), zero)

    def _scores(self, y: str, after: str) -> str:
        """Add the head, from the outputs of the stack, time first."""
        model = self._forecaster
        if model.every_step:
            y = self._node("Transpose", self._linear(y, model.head, "head"), perm=[1, 0, 2])
        elif not after:
            last = self._node("Gather", y, self._constant(np.array(-1)), axis=0)
            y = self._linear(last, model.head, "head")
            # A zero keeps the size that is there: the batch.
            y = self._node("Reshape", y, self._constant(np.array([0, *model.output_shape])))
        else:
            horizon, n_targets = model.output_shape
            n_rows_ahead = model.n_decoding * model.head.out_features // n_targets
            y = self._linear(after, model.head, "head")
            y = self._node("Reshape", y, self._constant(np.array([-1, n_rows_ahead, n_targets])))
            y = self._slice(y, 0, horizon, axis=1)
        return y

    def _of_windows(self, y: str) -> str:
        """Make of forecasts of rows those of windows, see `WindowView`."""
        model = self._forecaster
        if model.view.n_channels is None:
            return y
        n_steps = self._node("Shape", y, start=1, end=2)
        sizes = (self._constant(np.array([n])) for n in (-1, model.view.n_channels))
        y = self._node("Reshape", y, self._node("Concat", *sizes, n_steps, axis=0))
        return self._node("Transpose", y, perm=[0, 2, 1])

    def _standardised(self, scaling: Scaling) -> str:
        centred = self._node("Sub", "x", self._constant(scaling.mean.numpy()))
        standardised = self._node("Div", centred, self._constant(scaling.scale.numpy()))
        return self._node("Cast", standardised, to=TensorProto.FLOAT)

    def _in_units(self, forecast: str, scaling: Scaling) -> str:
        targets = list(scaling.targets)
        mean, scale = scaling.mean[targets].numpy(), scaling.scale[targets].numpy()
        y = self._node("Cast", forecast, to=TensorProto.DOUBLE)
        y = self._node("Mul", y, self._constant(scale))
        return self._node("Add", y, self._constant(mean))

    def _stack(self, y: str, after: str) -> tuple[str, str]:
        """Add all layers, over the steps of windows and those after them, time first."""
        states: list[str] = []
        for part in self._forecaster.parts:
            y, h_n = self._part(part, y, self._start(part, states))
            states.append(h_n)
            if after:
                after, _ = self._part(part, after, self._spread(h_n), ".after")
        if self._forecaster.carries:
            self._node("Concat", *states, output="h_n", axis=0)
        return y, after

    def _spread(self, h_n: str) -> str:
        """Give each step after a window its last state: (n, rows, h) to (n, rows * steps, h)."""
        n_after, size = self._forecaster.n_decoding, self._forecaster.hidden_size
        each = self._node("Unsqueeze", h_n, self._constant(np.array([2])))
        each = self._node("Tile", each, self._constant(np.array([1, 1, n_after, 1])))
        return self._node("Reshape", each, self._constant(np.array([0, -1, size])))

    def _part(self, part: Part, entered: str, start: str, suffix: str = "") -> tuple[str, str]:
        """Add the layers of one `nn.GRU`; return its outputs and its final states."""
        gru = self._forecaster.gru_of(part)
        y = self._normed(part, entered) if part.has_norm else entered
        n_directions = part.n_states // gru.num_layers
        states = []
        for layer in range(gru.num_layers):
            first = layer * n_directions
            h_0 = start and self._slice(start, first, first + n_directions, axis=0)
            weights = weights_by_direction(gru, layer)
            y, h_n = self._layer(f"{part.name}.l{layer}", suffix, weights, y, h_0)
            states.append(h_n)
        if part.has_residual:
            y = self._node("Add", entered, y)
        return y, self._node("Concat", *states, axis=0)

    def _normed(self, part: Part, x: str) -> str:
        norm = self._forecaster.norm_of(part)
        weights = {"weight": norm.weight, "bias": norm.bias}
        constants = [
            self._constant(as_float32(weight), f"{part.norm_name}.{key}")
            for key, weight in weights.items()
        ]
        return self._node("LayerNormalization", x, *constants, axis=-1, epsilon=norm.eps)

    def _start(self, part: Part, before: Sequence[str]) -> str:
        """Return what a part starts from, shape (n_states, batch, hidden_size); "" for zeros."""
        match part.start:
            case "learned":
                return self._for_each_row(self._forecaster.learned_of(part))
            case "carry":
                return self._slice("h_0", part.states.start, part.states.stop, axis=0)
            case "previous":
                states = self._node("Concat", *before, axis=0)
                return self._slice(states, part.previous.start, part.previous.stop, axis=0)
            case _:
                return ""

    def _for_each_row(self, state: Tensor) -> str:
        """Repeat a state for each row of the batch."""
        one = self._constant(np.array([1]))
        n_rows = self._node("Shape", "x", start=0, end=1)
        if self._forecaster.view.n_channels is not None:
            n_channels = self._constant(np.array([self._forecaster.view.n_channels]))
            n_rows = self._node("Mul", n_rows, n_channels)
        shape = self._node("Concat", one, n_rows, one, axis=0)
        return self._node("Expand", self._constant(as_float32(state)), shape)

    def _for_each_window(self, rows: Tensor) -> str:
        """Repeat some rows, (rows, features), for each window of the batch."""
        n_windows = self._node("Shape", "x", start=0, end=1)
        counts = self._node("Concat", n_windows, self._constant(np.array([1])), axis=0)
        return self._node("Tile", self._constant(as_float32(rows)), counts)

    def _layer(
        self, name: str, suffix: str, weights: Sequence[Sequence[Tensor]], y: str, h_0: str
    ) -> tuple[str, str]:
        """Add one layer; return its outputs and its final states.

        Args:
            name: of the layer, whose weights are there once.
            suffix: of the name of what is computed.
            weights: for each direction.
            y: its inputs.
            h_0: what it starts from; "" for zeros.
        """
        w, r, *biases = (
            np.stack([in_onnx_order(weight) for weight in of_both])
            for of_both in zip(*weights, strict=True)
        )
        b = self._constant(np.concatenate(biases, axis=1), f"{name}.B") if biases else ""
        inputs = [y, self._constant(w, f"{name}.W"), self._constant(r, f"{name}.R"), b, "", h_0]
        outputs = [f"{name}{suffix}.Y", f"{name}{suffix}.Y_h"]
        self.nodes.append(
            helper.make_node(
                "GRU",
                inputs,
                outputs,
                name=f"{name}{suffix}",
                direction="bidirectional" if len(weights) == 2 else "forward",
                hidden_size=r.shape[2],
                # As nn.GRU: the reset gate acts on the product of state and weights.
                linear_before_reset=1,
            )
        )
        # From (time, directions, batch, hidden_size) to (time, batch, features).
        y = self._node("Transpose", outputs[0], perm=[0, 2, 1, 3])
        return self._node("Reshape", y, self._constant(np.array([0, 0, -1]))), outputs[1]

    def _linear(self, x: str, linear: nn.Linear, name: str) -> str:
        y = self._node("MatMul", x, self._constant(as_float32(linear.weight.t()), f"{name}.weight"))
        if not has_bias(linear):
            return y
        return self._node("Add", y, self._constant(as_float32(linear.bias), f"{name}.bias"))

    def _slice(self, x: str, first: int, stop: int, *, axis: int) -> str:
        bounds = (self._constant(np.array([number])) for number in (first, stop, axis))
        return self._node("Slice", x, *bounds)

    def _node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, values: NDArray[Any], name: str = "") -> str:
        if name and name in self._names:
            return name
        name = name or f"constant_{len(self.constants)}"
        self._names.add(name)
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def weights_by_direction(gru: nn.GRU, layer: int) -> Sequence[Sequence[Tensor]]:
    """Return what a layer computes with, for each direction."""
    n_directions = 2 if gru.bidirectional else 1
    return gru.all_weights[layer * n_directions :][:n_directions]


def in_onnx_order(weight: Tensor) -> NDArray[np.float32]:
    """Put the rows of the gates r, z, n, as `nn.GRU` has them, into the order z, r, n of ONNX."""
    r, z, n = as_float32(weight).reshape(3, -1, *weight.shape[1:])
    return np.concatenate([z, r, n])


def as_float32(weight: Tensor) -> NDArray[np.float32]:
    """Return a weight as an array of float32."""
    array: NDArray[np.float32] = weight.detach().to(torch.float32).numpy()
    return array
