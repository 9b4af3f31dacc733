"""The stack of GRUs in an ONNX graph: its layers, and what they start from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, nn

from gru_parallel.export.forecaster import Forecaster, Part
from gru_parallel.export.onnx_nodes import OnnxNodes, as_float32


def add_stack(nodes: OnnxNodes, forecaster: Forecaster, y: str, after: str) -> tuple[str, str]:
    """Add all layers, over the steps of windows and those after them, time first.

    Args:
        nodes: of the graph.
        forecaster: whose layers.
        y: steps of windows.
        after: steps after them, as rows of one step; "" for none.

    Returns:
        What the last layer gives out for both.
    """
    return _Stack(nodes, forecaster).layers(y, after)


class _Stack:
    """Adds the layers; methods return the names of values."""

    def __init__(self, nodes: OnnxNodes, forecaster: Forecaster) -> None:
        self._add = nodes
        self._forecaster = forecaster

    def layers(self, y: str, after: str) -> tuple[str, str]:
        """Add all layers; see `add_stack`."""
        states: list[str] = []
        for part in self._forecaster.parts:
            y, h_n = self._part(part, y, self._start(part, states))
            states.append(h_n)
            if after:
                after, _ = self._part(part, after, self._spread(h_n), ".after")
        if self._forecaster.carries:
            self._add.node("Concat", *states, output="h_n", axis=0)
        return y, after

    def _spread(self, h_n: str) -> str:
        """Give each step after a window its last state: (n, rows, h) to (n, rows * steps, h)."""
        n_after, size = self._forecaster.n_decoding, self._forecaster.hidden_size
        each = self._add.node("Unsqueeze", h_n, self._add.constant(np.array([2])))
        each = self._add.node("Tile", each, self._add.constant(np.array([1, 1, n_after, 1])))
        return self._add.node("Reshape", each, self._add.constant(np.array([0, -1, size])))

    def _part(self, part: Part, entered: str, start: str, suffix: str = "") -> tuple[str, str]:
        """Add the layers of one `nn.GRU`; return its outputs and its final states."""
        gru = self._forecaster.gru_of(part)
        y = self._normed(part, entered) if part.has_norm else entered
        n_directions = part.n_states // gru.num_layers
        states = []
        for layer in range(gru.num_layers):
            first = layer * n_directions
            h_0 = start and self._add.slice(start, first, first + n_directions, axis=0)
            weights = weights_by_direction(gru, layer)
            y, h_n = self._layer(f"{part.name}.l{layer}", suffix, weights, y, h_0)
            states.append(h_n)
        if part.has_residual:
            y = self._add.node("Add", entered, y)
        return y, self._add.node("Concat", *states, axis=0)

    def _normed(self, part: Part, x: str) -> str:
        norm = self._forecaster.norm_of(part)
        weights = {"weight": norm.weight, "bias": norm.bias}
        constants = [
            self._add.constant(as_float32(weight), f"{part.norm_name}.{key}")
            for key, weight in weights.items()
        ]
        return self._add.node("LayerNormalization", x, *constants, axis=-1, epsilon=norm.eps)

    def _start(self, part: Part, before: Sequence[str]) -> str:
        """Return what a part starts from, shape (n_states, batch, hidden_size); "" for zeros."""
        match part.start:
            case "learned":
                return self._for_each_row(self._forecaster.learned_of(part))
            case "carry":
                return self._add.slice("h_0", part.states.start, part.states.stop, axis=0)
            case "previous":
                states = self._add.node("Concat", *before, axis=0)
                return self._add.slice(states, part.previous.start, part.previous.stop, axis=0)
            case _:
                return ""

    def _for_each_row(self, state: Tensor) -> str:
        """Repeat a state for each row of the batch."""
        one = self._add.constant(np.array([1]))
        n_rows = self._add.node("Shape", "x", start=0, end=1)
        if self._forecaster.view.n_channels is not None:
            n_channels = self._add.constant(np.array([self._forecaster.view.n_channels]))
            n_rows = self._add.node("Mul", n_rows, n_channels)
        shape = self._add.node("Concat", one, n_rows, one, axis=0)
        return self._add.node("Expand", self._add.constant(as_float32(state)), shape)

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
        b = self._add.constant(np.concatenate(biases, axis=1), f"{name}.B") if biases else ""
        inputs = [
            y,
            self._add.constant(w, f"{name}.W"),
            self._add.constant(r, f"{name}.R"),
            b,
            "",
            h_0,
        ]
        outputs = [f"{name}{suffix}.Y", f"{name}{suffix}.Y_h"]
        self._add.nodes.append(
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
        y = self._add.node("Transpose", outputs[0], perm=[0, 2, 1, 3])
        return self._add.node("Reshape", y, self._add.constant(np.array([0, 0, -1]))), outputs[1]


def weights_by_direction(gru: nn.GRU, layer: int) -> Sequence[Sequence[Tensor]]:
    """Return what a layer computes with, for each direction."""
    n_directions = 2 if gru.bidirectional else 1
    return gru.all_weights[layer * n_directions :][:n_directions]


def in_onnx_order(weight: Tensor) -> NDArray[np.float32]:
    """Put the rows of the gates r, z, n, as `nn.GRU` has them, into the order z, r, n of ONNX."""
    r, z, n = as_float32(weight).reshape(3, -1, *weight.shape[1:])
    return np.concatenate([z, r, n])
