"""LayerCost: the work and the memory of one layer, and the analytic estimates of both.

It only counts: how long a layer takes depends on its device, which cluster.py knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import add

from gru_parallel.choices import core_on
from gru_parallel.own_names import counted_as
from gru_parallel.placement.model_spec import ModelSpec

# Training keeps a gradient and Adam's two moments beside each weight.
COPIES_OF_A_PARAMETER = 4
BYTES_PER_NUMBER = 4
N_GATES = 3

KEPT_NUMBERS = {"native": 7, "fused": 5, "lean": 1}
"""By core, what F keeps for each step and unit beside the input: fused outputs and gates."""

WAITING_NUMBERS = {"native": 0, "fused": 1, "lean": 5}
"""What is there more between B and W: states before each step, and the gradients of gates."""


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
        input_bytes: the input of the layer; of several, that of the first.
        start_bytes: what F keeps of the state that enters each chunk, beside `activation_bytes`.
        waiting_bytes: what B leaves for W beside `activation_bytes`, until that has run.
        shares_input: whether what the layer before keeps has its input, in one piece on one stage.
        state_bytes: the state between two chunks.
    """

    forward_flops: float
    backward_flops: float
    n_parameters: int
    activation_bytes: int
    reverse_forward_flops: float = 0.0
    is_barrier: bool = False
    input_bytes: int = 0
    start_bytes: int = 0
    waiting_bytes: int = 0
    shares_input: bool = False
    state_bytes: int = 0

    def __add__(self, after: "LayerCost") -> "LayerCost":
        """Add the cost of the layers that follow, on the same stage."""
        shared_bytes = after.input_bytes if after.shares_input else 0
        # One by one: a search adds up many, and dataclasses.astuple copies deeply.
        return LayerCost(
            self.forward_flops + after.forward_flops,
            self.backward_flops + after.backward_flops,
            self.n_parameters + after.n_parameters,
            self.activation_bytes + after.activation_bytes - shared_bytes,
            self.reverse_forward_flops + after.reverse_forward_flops,
            self.is_barrier or after.is_barrier,
            self.input_bytes,
            self.start_bytes + after.start_bytes,
            self.waiting_bytes + after.waiting_bytes,
            self.shares_input,
            self.state_bytes + after.state_bytes,
        )

    @property
    def is_bidirectional(self) -> bool:
        """Whether a part runs against the direction of time."""
        return self.reverse_forward_flops > 0.0

    @property
    def total_flops(self) -> float:
        """Floating-point operations of one training step."""
        return self.forward_flops + self.backward_flops

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights, their gradients and both Adam moments, in float32."""
        return COPIES_OF_A_PARAMETER * BYTES_PER_NUMBER * self.n_parameters


@lru_cache  # A search asks for the same again and again, of many layers.
def gru_layer_cost(
    input_size: int,
    hidden_size: int,
    n_steps: int,
    batch_size: int,
    *,
    bidirectional: bool = False,
    is_barrier: bool = False,
    core: str = "native",
    shares_input: bool = False,
) -> LayerCost:
    """Estimate the cost of one layer of GRU, in float32, for a whole batch and window.

    Only the two matrix products of the gates count as work: with x of shape (time, batch,
    input_size), they multiply by weights of shapes (3 * hidden_size, input_size) and
    (3 * hidden_size, hidden_size). In backward, each becomes two products of that size, one for
    the inputs and one for the weights; the lean core does those of forward once more.

    Kept for backward are, for each step and sample, the layer's input and by core: with `native`
    seven times hidden_size of gates, states and intermediate results, which is what `nn.GRU` saves
    on the CPU; with `lean` the outputs; with `fused` four times hidden_size of gates, too. Those
    two keep the state that enters each chunk besides, and between B and W what `waiting_bytes`
    says; the gradients of the gates then lie in the place of the gates of `fused`. A bidirectional
    layer counts as two layers, each with its own order of the input, and is always a barrier in
    time.
    """
    n_directions = 2 if bidirectional else 1
    n_rows = n_steps * batch_size
    n_weights = N_GATES * hidden_size * (input_size + hidden_size)
    n_biases = 2 * N_GATES * hidden_size
    one_way_flops = 2.0 * n_weights * n_rows
    n_kept = n_rows * (input_size + KEPT_NUMBERS[counted_as(core)] * hidden_size)
    n_waiting = n_rows * WAITING_NUMBERS[counted_as(core)] * hidden_size
    n_states = 0 if core == "native" else n_directions * batch_size * hidden_size
    # Whole sequences have one start.
    n_once, n_by_chunk = (n_states, 0) if bidirectional else (0, n_states)
    return LayerCost(
        forward_flops=n_directions * one_way_flops,
        backward_flops=(3 if core == "lean" else 2) * n_directions * one_way_flops,
        n_parameters=n_directions * (n_weights + n_biases),
        activation_bytes=(n_directions * n_kept + n_once) * BYTES_PER_NUMBER,
        reverse_forward_flops=one_way_flops if bidirectional else 0.0,
        is_barrier=bidirectional or is_barrier,
        input_bytes=n_rows * input_size * BYTES_PER_NUMBER,
        start_bytes=n_by_chunk * BYTES_PER_NUMBER,
        waiting_bytes=n_directions * n_waiting * BYTES_PER_NUMBER,
        shares_input=shares_input,
        state_bytes=n_directions * batch_size * hidden_size * BYTES_PER_NUMBER,
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
        input_bytes=n_rows * in_features * BYTES_PER_NUMBER,
    )


def norm_cost(width: int, n_rows: int) -> LayerCost:
    """Estimate the cost of a layer norm in float32, of which F keeps the inputs."""
    n_bytes = n_rows * width * BYTES_PER_NUMBER
    return LayerCost(0.0, 0.0, 2 * width, activation_bytes=n_bytes, input_bytes=n_bytes)


def input_bytes(model: ModelSpec, n_steps: int, batch_size: int) -> tuple[int, ...]:
    """Return the memory of each block's inputs, of a batch of windows of `n_steps`, in float32."""
    n_rows = n_steps * batch_size
    return tuple(n_rows * block.input_size * BYTES_PER_NUMBER for block in model.blocks)


def mask_bytes(model: ModelSpec, n_steps: int, batch_size: int) -> tuple[int, ...]:
    """Return the memory of each block's masks of dropout, see `ModelSpec.has_dropout`."""
    n_rows = n_steps * batch_size
    n_masks = [len(block.layers) for block in model.blocks]
    n_masks[-1] -= 0 if model.n_decoding > 0 else 1
    return tuple(
        n * n_rows * block.output_size * BYTES_PER_NUMBER
        for n, block in zip(n_masks, model.blocks, strict=True)
    )


def block_costs(
    model: ModelSpec, n_steps: int, batch_size: int, devices: Sequence[str] = ()
) -> tuple[LayerCost, ...]:
    """Estimate the cost of each block, the encoder's with the first and the head's with the last.

    It is that of a batch of windows of `n_steps`.

    Args:
        model: what is run.
        n_steps: time steps of a window, with those after it.
        batch_size: its windows.
        devices: of each block, which say what the core `auto` stands for; () counts `native`.
    """
    cores = tuple(core_on(device, model.core) for device in devices)
    return _block_costs(model, n_steps, batch_size, cores)


@lru_cache(maxsize=16)  # Every plan of a search asks for those of the same model.
def _block_costs(
    model: ModelSpec, n_steps: int, batch_size: int, cores: tuple[str, ...]
) -> tuple[LayerCost, ...]:
    n_rows = n_steps * batch_size
    costs: list[list[LayerCost]] = []
    # Whether the layer before keeps its outputs, and nothing is done to them.
    shares = False
    for index, block in enumerate(model.blocks):
        core = cores[index] if cores else core_on("", model.core)
        costs.append([])
        for layer in block.layers:
            width = block.input_size if layer == block.layers.start else block.output_size
            if model.has_norm:
                costs[-1].append(norm_cost(width, n_rows))
            costs[-1].append(
                gru_layer_cost(
                    width,
                    block.hidden_size,
                    n_steps,
                    batch_size,
                    bidirectional=block.bidirectional,
                    is_barrier=block.h_0 == "previous",
                    core=core,
                    shares_input=shares and core != "native" and not block.bidirectional,
                )
            )
            shares = (
                core != "native"
                and not block.bidirectional
                and not (model.has_dropout or model.has_residual or model.has_norm)
            )
    if model.n_channels is not None:
        encoder = linear_cost(model.n_channels, model.blocks[0].input_size, n_rows)
        n_parameters = encoder.n_parameters + model.n_embedded
        costs[0].insert(0, replace(encoder, n_parameters=n_parameters))
    if model.n_outputs is not None:
        n_read = n_rows if model.every_step else batch_size * max(1, model.n_decoding)
        head = linear_cost(model.blocks[-1].output_size, model.n_outputs, n_read)
        if model.n_decoding == 0:
            # The last layer has no dropout.
            shares = core != "native" and not (block.bidirectional or model.has_residual)
        costs[-1].append(replace(head, shares_input=shares))
    return tuple(reduce(add, block) for block in costs)
