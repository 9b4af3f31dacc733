"""The numbers of an output in an ONNX graph: what `Output.exported` does, node by node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.model import NegativeBinomialOutput, NormalOutput, Output, QuantileOutput
from gru_parallel.model.output import LEAST

Node = Callable[..., str]
"""From an operator and the names of its inputs to the name of what it gives out."""

Constant = Callable[[NDArray[Any]], str]
"""From values to their name."""


def exported_numbers(output: Output, scores: str, node: Node, constant: Constant) -> list[str]:
    """Add what makes of a head's scores the numbers of `Output.exported`, without a scale.

    Args:
        output: of the model.
        scores: float32 of shape (rows, time, targets * n_numbers).
        node: adds one.
        constant: adds one.

    Returns:
        The numbers, each of shape (rows, time, targets).
    """
    if not output.exported_names:
        return [scores]
    shape = constant(np.array([0, 0, -1, output.n_numbers]))
    split = node("Reshape", scores, shape)
    numbers = [
        node("Gather", split, constant(np.array(k)), axis=3) for k in range(output.n_numbers)
    ]

    def positive(number: str) -> str:
        return node("Add", node("Softplus", number), constant(np.array(LEAST, np.float32)))

    match output:
        case QuantileOutput():
            median = output.levels.index(0.5)
            for k in range(median + 1, output.n_numbers):
                numbers[k] = node("Add", numbers[k - 1], node("Softplus", numbers[k]))
            for k in reversed(range(median)):
                numbers[k] = node("Sub", numbers[k + 1], node("Softplus", numbers[k]))
            return [numbers[median], *numbers]
        case NormalOutput():
            mean, deviation = numbers[0], positive(numbers[1])
            steps = [constant(np.array(step, np.float32)) for step in output.steps]
            return [mean, *(node("Add", mean, node("Mul", deviation, step)) for step in steps)]
    assert isinstance(output, NegativeBinomialOutput)
    return [positive(number) for number in numbers]
