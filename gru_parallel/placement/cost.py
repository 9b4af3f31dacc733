"""LayerCost: the work and the memory of one layer, and the analytic estimates of both.

It only counts: how long a layer takes depends on its device, which cluster.py knows.
"""

from dataclasses import astuple, dataclass, replace
from functools import reduce
from operator import add

from gru_parallel.placement.model_spec import ModelSpec

# Training keeps a gradient and Adam's two moments beside each weight.
COPIES_OF_A_PARAMETER = 4
BYTES_PER_NUMBER = 4
N_GATES = 3


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer, or of several in sequence, for the whole batch and window.

    Attributes:
        forward_flops: floating-point operations of F.
        backward_flops: floating-point operations of B and W together.
        n_parameters: number of trained parameters.
        activation_bytes: what F keeps for B, the layer's input included.
        reverse_forward_flops: the part of `forward_flops` that runs against the direction of time,
            possibly on a second device; backward has the same share.
        is_barrier: whether the layer needs the whole window before it can begin, forward or
            backward.
    """

    forward_flops: float
    backward_flops: float
    n_parameters: int
    activation_bytes: int
    reverse_forward_flops: float = 0.0
    is_barrier: bool = False

    def __add__(self, after: "LayerCost") -> "LayerCost":
        """Add the cost of the layers that follow."""
        sums = LayerCost(*map(add, astuple(self), astuple(after)))
        return replace(sums, is_barrier=self.is_barrier or after.is_barrier)

    @property
    def total_flops(self) -> float:
        """Floating-point operations of one training step."""
        return self.forward_flops + self.backward_flops

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights, their gradients and both Adam moments, in float32."""
        return COPIES_OF_A_PARAMETER * BYTES_PER_NUMBER * self.n_parameters


def gru_layer_cost(
    input_size: int,
    hidden_size: int,
    n_steps: int,
    batch_size: int,
    *,
    bidirectional: bool = False,
    is_barrier: bool = False,
) -> LayerCost:
    """Estimate the cost of one layer of `nn.GRU`, in float32, for a whole batch and window.

    Only the two matrix products of the gates count as work: with x of shape (time, batch,
    input_size), they multiply by weights of shapes (3 * hidden_size, input_size) and
    (3 * hidden_size, hidden_size). In backward, each becomes two products of that size, one for
    the inputs and one for the weights.

    Kept for backward are, for each step and sample, the layer's input and seven times hidden_size
    of gates, states and intermediate results. That is what `nn.GRU` saves on the CPU: 8 *
    hidden_size where input_size equals hidden_size. A bidirectional layer counts as two layers,
    each with its own order of the input, and is always a barrier in time.
    """
    n_directions = 2 if bidirectional else 1
    n_rows = n_steps * batch_size
    n_weights = N_GATES * hidden_size * (input_size + hidden_size)
    n_biases = 2 * N_GATES * hidden_size
    one_way_flops = 2.0 * n_weights * n_rows
    n_kept = n_rows * (input_size + 7 * hidden_size)
    return LayerCost(
        forward_flops=n_directions * one_way_flops,
        backward_flops=2 * n_directions * one_way_flops,
        n_parameters=n_directions * (n_weights + n_biases),
        activation_bytes=n_directions * n_kept * BYTES_PER_NUMBER,
        reverse_forward_flops=one_way_flops if bidirectional else 0.0,
        is_barrier=bidirectional or is_barrier,
    )


def linear_cost(in_features: int, out_features: int, n_rows: int) -> LayerCost:
    """Estimate the cost of an `nn.Linear` in float32, as encoders and heads use it.

    It is applied to batch x time steps rows by an encoder or a head at every step, to batch rows by
    a head at the end of the window. F keeps the input.
    """
    n_weights = in_features * out_features
    forward_flops = 2.0 * n_weights * n_rows
    return LayerCost(
        forward_flops=forward_flops,
        backward_flops=2 * forward_flops,
        n_parameters=n_weights + out_features,
        activation_bytes=n_rows * in_features * BYTES_PER_NUMBER,
    )


def input_bytes(model: ModelSpec, n_steps: int, batch_size: int) -> tuple[int, ...]:
    """Return the memory of each block's inputs, of a batch of windows of `n_steps`, in float32."""
    n_rows = n_steps * batch_size
    return tuple(n_rows * block.input_size * BYTES_PER_NUMBER for block in model.blocks)


def mask_bytes(model: ModelSpec, n_steps: int, batch_size: int) -> tuple[int, ...]:
    """Return the memory of each block's masks of dropout, one after each layer but the last."""
    n_rows = n_steps * batch_size
    n_masks = [len(block.layers) for block in model.blocks]
    n_masks[-1] -= 1
    return tuple(
        n * n_rows * block.output_size * BYTES_PER_NUMBER
        for n, block in zip(n_masks, model.blocks, strict=True)
    )


def block_costs(model: ModelSpec, n_steps: int, batch_size: int) -> tuple[LayerCost, ...]:
    """Estimate the cost of each block, the encoder's with the first and the head's with the last.

    It is that of a batch of windows of `n_steps`.
    """
    n_rows = n_steps * batch_size
    costs = [
        [
            gru_layer_cost(
                block.input_size if layer == block.layers.start else block.output_size,
                block.hidden_size,
                n_steps,
                batch_size,
                bidirectional=block.bidirectional,
                is_barrier=block.h_0 == "previous",
            )
            for layer in block.layers
        ]
        for block in model.blocks
    ]
    if model.n_channels is not None:
        costs[0].insert(0, linear_cost(model.n_channels, model.blocks[0].input_size, n_rows))
    if model.n_outputs is not None:
        width = model.blocks[-1].output_size
        costs[-1].append(
            linear_cost(width, model.n_outputs, n_rows if model.every_step else batch_size)
        )
    return tuple(reduce(add, block) for block in costs)
