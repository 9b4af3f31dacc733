"""ModelSpec: the widths, the directions and the h_0 policies of a model, block by block."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from gru_parallel.choices import AUTO
from gru_parallel.errors import UsageError

T = TypeVar("T", str, bool)


@dataclass(frozen=True)
class BlockSpec:
    """One block of a stack.

    Attributes:
        layers: indices of its layers.
        input_size: features of what enters its first layer.
        hidden_size: features that a layer gives out for each direction.
        bidirectional: whether it runs in both directions of time.
        h_0: its policy, which says where the state comes from that enters it.
    """

    layers: range
    input_size: int
    hidden_size: int
    bidirectional: bool
    h_0: str

    @property
    def output_size(self) -> int:
        """Features of what each layer gives out."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def n_states(self) -> int:
        """States of the block: one per layer and direction."""
        return len(self.layers) * (2 if self.bidirectional else 1)


@dataclass(frozen=True)
class ModelSpec:
    """The sizes of a whole model: encoder -> blocks -> head.

    Attributes:
        blocks: of the stack, in order.
        n_channels: values of a step, where a linear encoder brings them to the width of the stack;
            None for no encoder.
        n_outputs: numbers that the head predicts, at each step or once; None for no head.
        every_step: whether the head predicts at every step of the window, or at its end alone.
        core: how a layer computes a chunk, one of `CORES`.
        has_dropout: whether outputs between layers are dropped; before a decoder also those of the
            last layer.
        has_residual: whether layers add their inputs to their outputs.
        has_norm: whether layers normalise their inputs.
        n_decoding: steps after the window, from which a decoder predicts `n_outputs` numbers each;
            0 for another head.
        n_embedded: parameters of the encoder beside those of its linear layer.

    Raises:
        UsageError: there is a decoder, and a block is bidirectional.
    """

    blocks: tuple[BlockSpec, ...]
    n_channels: int | None = None
    n_outputs: int | None = None
    every_step: bool = False
    core: str = AUTO
    has_dropout: bool = False
    has_residual: bool = False
    has_norm: bool = False
    n_decoding: int = 0
    n_embedded: int = 0

    def __post_init__(self) -> None:
        if self.n_decoding > 0:
            check_decoder([block.bidirectional for block in self.blocks])


def cut_stack(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    layers_per_block: int = 1,
    *,
    bidirectional: bool | Sequence[bool] = False,
    h_0: str | Sequence[str] = "given",
) -> tuple[BlockSpec, ...]:
    """Cut a stack of GRU layers into blocks.

    Args:
        input_size: features of what enters the stack.
        hidden_size: features that a layer gives out for each direction.
        num_layers: layers in all.
        layers_per_block: layers of each block; the last block takes what is left.
        bidirectional: whether blocks run in both directions: one answer for all, or one per block.
        h_0: one policy for all blocks, or one per block.

    Returns:
        The blocks, in order.

    Raises:
        UsageError: there is another number of answers or policies than of blocks, or a policy
            cannot work where it stands.
    """
    bounds = [*range(0, num_layers, layers_per_block), num_layers]
    directions = _one_per_block("model.bidirectional", bidirectional, len(bounds) - 1)
    policies = _one_per_block("model.h_0", h_0, len(bounds) - 1)
    blocks: list[BlockSpec] = []
    for (first, stop), both, policy in zip(pairwise(bounds), directions, policies, strict=True):
        blocks.append(BlockSpec(range(first, stop), input_size, hidden_size, both, policy))
        input_size = blocks[-1].output_size
    _check_hand_overs(blocks)
    return tuple(blocks)


def check_decoder(bidirectional: Iterable[bool]) -> None:
    """Raise a UsageError if a block is bidirectional, from which no decoder can run on."""
    if any(bidirectional):
        raise UsageError(
            "model.head=decoder runs on from the state at the end of the window, and the reverse"
            " direction of a bidirectional block ends at its beginning; use"
            " model.bidirectional=false, or another head."
        )


def _one_per_block(setting: str, value: T | Sequence[T], n_blocks: int) -> list[T]:
    if isinstance(value, str | bool):
        return [value] * n_blocks
    if len(value) != n_blocks:
        raise UsageError(
            f"{setting}=[{','.join(map(str, value))}] has {len(value)} entries, but the model has"
            f" {n_blocks} blocks; write one entry per block, or one for all without brackets."
        )
    return list(value)


def _check_hand_overs(blocks: Sequence[BlockSpec]) -> None:
    if blocks[0].h_0 == "previous":
        raise UsageError(
            "model.h_0=previous: block 0 has no block before it; write one policy per block, as"
            " in model.h_0=[zeros,previous]."
        )
    for index, (before, block) in enumerate(pairwise(blocks), start=1):
        if block.h_0 == "previous" and block.n_states != before.n_states:
            raise UsageError(
                f"model.h_0=previous: block {index} has {block.n_states} states, the block before"
                f" it {before.n_states}; give both the same number of layers and directions."
            )
