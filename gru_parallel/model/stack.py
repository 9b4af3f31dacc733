"""The stack of blocks, equal to one nn.GRU. Its parameters' names survive any placement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from gru_parallel.errors import UsageError
from gru_parallel.model.bidirectional import BidirectionalBlock
from gru_parallel.model.block import Block, GRUBlock
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.hidden import Start, entering
from gru_parallel.model.ragged import BatchSizes
from gru_parallel.placement import cut_stack


class GRUStack(nn.Module):
    """A stack of GRU layers cut into blocks, equal to one `nn.GRU` of all the layers.

    Weights are drawn in the order in which `nn.GRU` draws them, so the same seed gives the same
    stack however it is cut. The state dict has the keys of `nn.GRU` (`weight_ih_l0`, ...), so it
    loads into one, and from one.

    Args:
        input_size: features of x.
        hidden_size: features of each layer's output.
        num_layers: layers in all.
        layers_per_block: layers a block; the last block takes what is left.
        dropout: probability of dropping an output between layers.
        bias: whether layers have biases.
        bidirectional: whether blocks run in both directions of time: one answer for all, or one a
            block. A stack that mixes them has no `nn.GRU` to be equal to.
        h_0: where the state comes from that enters a block (see hidden.py): one policy for all
            blocks, or one a block.
        device: where the parameters are created.
        dtype: the parameters' type.
        kept_blocks: the blocks whose weights are kept; those of others are drawn, a layer at a
            time, and let go, and the blocks are on the meta device: so that a stack too large for
            one process has the same weights in parts. None keeps all.

    Raises:
        UsageError: `bidirectional` or `h_0` is not one a block, or a policy is unknown or cannot
            work where it stands.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        layers_per_block: int = 1,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        bidirectional: bool | Sequence[bool] = False,
        h_0: str | Sequence[str] = "given",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        kept_blocks: Collection[int] | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.blocks = nn.ModuleList()
        sizes = (input_size, hidden_size, num_layers, layers_per_block)
        others = _Draws(device, dtype)
        for index, spec in enumerate(cut_stack(*sizes, bidirectional=bidirectional, h_0=h_0)):
            kind = BidirectionalBlock if spec.bidirectional else GRUBlock
            kept = kept_blocks is None or index in kept_blocks
            block = kind(
                spec.input_size,
                hidden_size,
                len(spec.layers),
                first_layer=spec.layers.start,
                last=spec.layers.stop == num_layers,
                dropout=dropout,
                h_0=spec.h_0,
                bias=bias,
                device=device if kept else "meta",
                dtype=dtype,
            )
            if not kept:
                others.draw(block)
            self.blocks.append(block)
        # torch has no types for these two.
        self.register_state_dict_post_hook(_speak_nn_gru)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_hear_nn_gru)  # type: ignore[no-untyped-call]

    def forward(
        self,
        x: Tensor,
        h_0: Tensor | None = None,
        key: DropoutKey | None = None,
        *,
        start: Start | None = None,
        batch_sizes: BatchSizes | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the whole stack in one piece, as `nn.GRU` would.

        Args:
            x: inputs, shape (time, batch, input_size).
            h_0: the state that enters each layer, shape (n_states, batch, hidden_size), for blocks
                whose policy is `given`; None means zeros. Short for `start=Start(h_0)`.
            key: names the random numbers of dropout; None uses torch's global generator.
            start: what blocks of other policies start from.
            batch_sizes: rows at each step, where they end at different steps; the longest row comes
                first.

        Returns:
            y: outputs of the last layer, shape (time, batch, output_size).
            h_n: the state that leaves each layer, shape (n_states, batch, hidden_size).

        Raises:
            ShapeError: x or h_0 does not fit.
        """
        start = start or Start(h_0)
        start.check(self.n_states, x.shape[1], self.hidden_size)
        start = start.for_rows(x.shape[1])
        states: list[Tensor] = []
        everything = slice(None)
        for block, own in zip(self.gru_blocks, self.state_slices, strict=True):
            before = states[-1] if states else None
            h = entering(block, x.shape[1], start.of(own, everything), before)
            x, h_n = block(x, h, key, batch_sizes)
            states.append(h_n)
        return x, torch.cat(states)

    @property
    def gru_blocks(self) -> tuple[Block, ...]:
        """The blocks in order.

        Raises:
            UsageError: there is something else among them.
        """
        for block in self.blocks:
            if not isinstance(block, Block):
                raise UsageError(
                    f"A {type(block).__name__} stands among the blocks of the stack; use a GRUBlock"
                    " or a class made from one (to compile a block, call its compile method)."
                )
        return tuple(cast(list[Block], list(self.blocks)))

    @property
    def carries(self) -> bool:
        """Whether a block goes on from the state in which the batch before left it."""
        return any(block.h_0 == "carry" for block in self.gru_blocks)

    @property
    def n_states(self) -> int:
        """States of the stack: one a layer and direction."""
        return sum(block.n_states for block in self.gru_blocks)

    @property
    def output_size(self) -> int:
        """Features of y."""
        return self.gru_blocks[-1].output_size

    @property
    def state_slices(self) -> tuple[slice, ...]:
        """Where the states of each block stand in h_0 and h_n."""
        ends = [0, *accumulate(block.n_states for block in self.gru_blocks)]
        return tuple(slice(first, stop) for first, stop in pairwise(ends))

    def nn_gru_names(self) -> dict[str, str]:
        """Map each parameter's own name to the name that it has in `nn.GRU`, in that order."""
        return {
            f"blocks.{index}.{own}": name
            for index, block in enumerate(self.gru_blocks)
            for own, name in block.nn_gru_names().items()
        }


class _Draws:
    """Draws the weights of blocks that are not kept, all in the same memory.

    Memory of their own, freed block by block, would not do: malloc keeps what lies between what is
    still in use, so a process would grow to the size of the whole stack.
    """

    def __init__(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self._made: dict[str, Any] = {"device": device, "dtype": dtype}
        self._drawn: dict[tuple[int, int, int], nn.GRU] = {}

    def draw(self, block: Block) -> None:
        """Draw what the block's weights would be: as many random numbers, and then no more."""
        for part in block.gru_parts:
            shape = part.input_size, part.hidden_size, part.num_layers
            if shape in self._drawn:
                self._drawn[shape].reset_parameters()
            else:
                self._drawn[shape] = nn.GRU(*shape, bias=part.bias, **self._made)


def _speak_nn_gru(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]
) -> None:
    """Rename a state dict's entries from blocks to the names of `nn.GRU`."""
    del local_metadata
    assert isinstance(module, GRUStack)
    for own, name in module.nn_gru_names().items():
        state_dict[prefix + name] = state_dict.pop(prefix + own)


def _hear_nn_gru(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    """Rename a state dict's entries from the names of `nn.GRU` to blocks, before loading."""
    del local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    assert isinstance(module, GRUStack)
    for own, name in module.nn_gru_names().items():
        if prefix + name in state_dict:
            state_dict[prefix + own] = state_dict.pop(prefix + name)
