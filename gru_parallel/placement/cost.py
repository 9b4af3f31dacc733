"""LayerCost: the work and the memory of one layer, and the analytic estimates of both.

Counts only: how long a layer takes depends on its device, which cluster.py and planner.py know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

# Training keeps a gradient and Adam's two moments beside each weight.
COPIES_OF_A_PARAMETER = 4
N_GATES = 3


@dataclass(frozen=True)
class LayerCost:
    """What one layer, or several in a row, cost for the whole batch and the whole window.

    Attributes:
        name: what is counted, like "layer 3"; sums join the names with "+".
        forward_flops: floating-point operations of F.
        backward_flops: floating-point operations of B and W together.
        n_parameters: numbers that are trained.
        activation_bytes: what F keeps for B, the layer's input included.
        output_bytes: what F hands to the next layer.
        reverse_forward_flops: what of `forward_flops` is done against the direction of time, and
            may be done on a second device; backward has the same share.
        is_barrier: whether the layer needs all of a window before it can begin, or go back.
    """

    name: str
    forward_flops: float
    backward_flops: float
    n_parameters: int
    activation_bytes: int
    output_bytes: int
    reverse_forward_flops: float = 0.0
    is_barrier: bool = False

    def __add__(self, after: "LayerCost") -> "LayerCost":
        """Join this cost with that of what comes right after it.

        Args:
            after: the cost of the layers that take this one's output.

        Returns:
            The cost of both; its output is that of `after`.
        """
        return LayerCost(
            name=f"{self.name}+{after.name}",
            forward_flops=self.forward_flops + after.forward_flops,
            backward_flops=self.backward_flops + after.backward_flops,
            n_parameters=self.n_parameters + after.n_parameters,
            activation_bytes=self.activation_bytes + after.activation_bytes,
            output_bytes=after.output_bytes,
            reverse_forward_flops=self.reverse_forward_flops + after.reverse_forward_flops,
            is_barrier=self.is_barrier or after.is_barrier,
        )

    @property
    def total_flops(self) -> float:
        """Floating-point operations of one training step."""
        return self.forward_flops + self.backward_flops

    def memory_bytes(self, bytes_per_number: int = 4) -> int:
        """Estimate the memory that one training step needs on the layer's device.

        Args:
            bytes_per_number: size of a weight, of its gradient and of each Adam moment.

        Returns:
            Weights, gradients, both Adam moments and the activations that F keeps, in bytes, as if
            the activations of the whole batch and the whole window were alive at once.
        """
        n_numbers = COPIES_OF_A_PARAMETER * self.n_parameters
        return n_numbers * bytes_per_number + self.activation_bytes


def gru_layer_cost(
    name: str,
    input_size: int,
    hidden_size: int,
    n_steps: int,
    batch_size: int,
    bytes_per_number: int = 4,
    bias: bool = True,
    bidirectional: bool = False,
    is_barrier: bool = False,
) -> LayerCost:
    """Estimate the cost of one layer of `nn.GRU`.

    Only the two matrix products of the gates count as work: with x of shape (time, batch,
    input_size), they multiply by weights of shapes (3 * hidden_size, input_size) and
    (3 * hidden_size, hidden_size). Backward makes two products of that size out of each, one
    for the inputs and one for the weights.

    Kept for backward are, for each step and sample, the layer's input and seven times hidden_size
    of gates, states and what lies between them. That is what `nn.GRU` saves on the CPU: 8 *
    hidden_size where input_size equals hidden_size. A bidirectional layer is two layers side by
    side, each with an order of the input of its own.

    Args:
        name: what to call the layer.
        input_size: width of the input.
        hidden_size: width of the hidden state.
        n_steps: time steps of the window.
        batch_size: samples of the batch.
        bytes_per_number: size of a number, 4 for float32.
        bias: whether the layer has its two bias vectors.
        bidirectional: whether the layer runs in both directions of time.
        is_barrier: whether the layer is a barrier in time; a bidirectional one always is.

    Returns:
        The layer's cost for the whole batch and the whole window.
    """
    n_directions = 2 if bidirectional else 1
    n_rows = n_steps * batch_size
    n_weights = N_GATES * hidden_size * (input_size + hidden_size)
    n_biases = 2 * N_GATES * hidden_size if bias else 0
    one_way_flops = 2.0 * n_weights * n_rows
    n_kept = n_rows * (input_size + 7 * hidden_size)
    return LayerCost(
        name=name,
        forward_flops=n_directions * one_way_flops,
        backward_flops=2 * n_directions * one_way_flops,
        n_parameters=n_directions * (n_weights + n_biases),
        activation_bytes=n_directions * n_kept * bytes_per_number,
        output_bytes=n_directions * n_rows * hidden_size * bytes_per_number,
        reverse_forward_flops=one_way_flops if bidirectional else 0.0,
        is_barrier=bidirectional or is_barrier,
    )


def linear_cost(
    name: str,
    in_features: int,
    out_features: int,
    n_rows: int,
    bytes_per_number: int = 4,
    bias: bool = True,
) -> LayerCost:
    """Estimate the cost of an `nn.Linear`, as encoders and heads use it.

    Args:
        name: what to call the layer.
        in_features: width of the input.
        out_features: width of the output.
        n_rows: rows that it is applied to: batch x time steps for an encoder or a head at every
            step, batch for a head at the end of the window.
        bytes_per_number: size of a number, 4 for float32.
        bias: whether the layer has a bias vector.

    Returns:
        The layer's cost for all rows. F keeps the input.
    """
    n_weights = in_features * out_features
    forward_flops = 2.0 * n_weights * n_rows
    return LayerCost(
        name=name,
        forward_flops=forward_flops,
        backward_flops=2 * forward_flops,
        n_parameters=n_weights + (out_features if bias else 0),
        activation_bytes=n_rows * in_features * bytes_per_number,
        output_bytes=n_rows * out_features * bytes_per_number,
    )


def costs_by_block(
    layers: Sequence[LayerCost],
    layers_per_block: int,
    encoder: LayerCost | None = None,
    head: LayerCost | None = None,
) -> tuple[LayerCost, ...]:
    """Add up the costs of each block, the encoder in the first one and the head in the last.

    Args:
        layers: cost of each GRU layer, in order; at least one.
        layers_per_block: layers of each block; the last block may hold fewer.
        encoder: cost of what runs before the first layer, on the first block's device.
        head: cost of what runs after the last layer, on the last block's device.

    Returns:
        The cost of each block, in order.
    """
    starts = range(0, len(layers), layers_per_block)
    blocks = [list(layers[start : start + layers_per_block]) for start in starts]
    if encoder is not None:
        blocks[0].insert(0, encoder)
    if head is not None:
        blocks[-1].append(head)
    return tuple(reduce(add, block) for block in blocks)
