"""The nodes and constants of an ONNX graph, which other parts add to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from gru_parallel.export.forecaster import has_bias

LAST = np.iinfo(np.int64).max
"""Where a slice stops that goes to the end."""


class OnnxNodes:
    """Collects the nodes and constants of a graph; methods return the names of values."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._names: set[str] = set()

    def linear(self, x: str, linear: nn.Linear, name: str) -> str:
        """Add a linear layer, whose weights are named after it."""
        y = self.node("MatMul", x, self.constant(as_float32(linear.weight.t()), f"{name}.weight"))
        if not has_bias(linear):
            return y
        return self.node("Add", y, self.constant(as_float32(linear.bias), f"{name}.bias"))

    def slice(self, x: str, first: int, stop: int, *, axis: int) -> str:
        """Add a slice from first to stop."""
        bounds = (self.constant(np.array([number])) for number in (first, stop, axis))
        return self.node("Slice", x, *bounds)

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node of this operator; `output` names what it gives out."""
        name = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: NDArray[Any], name: str = "") -> str:
        """Add values; those of a name are there once."""
        if name and name in self._names:
            return name
        name = name or f"constant_{len(self.constants)}"
        self._names.add(name)
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def as_float32(weight: Tensor) -> NDArray[np.float32]:
    """Return a weight as an array of float32."""
    array: NDArray[np.float32] = weight.detach().to(torch.float32).numpy()
    return array
