"""The stack of blocks, equal to one nn.GRU. Placement does not change its parameters' names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from gru_parallel.choices import AUTO, core_on
from gru_parallel.errors import UsageError
from gru_parallel.model import decoding
from gru_parallel.model.bidirectional import BidirectionalBlock
from gru_parallel.model.block import Block, GRUBlock
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.flat_weights import flatten_all
from gru_parallel.model.hidden import Start, entering
from gru_parallel.model.nn_gru_names import names_of_stack
from gru_parallel.model.ragged import BatchSizes
from gru_parallel.placement import cut_stack


class GRUStack(nn.Module):
    """A stack of GRU layers cut into blocks, equal to one `nn.GRU` of all layers.

    Weights are drawn in the order in which `nn.GRU` draws them, so the same seed gives the same
    stack however it is cut. The state dict has the keys of `nn.GRU` (`weight_ih_l0`, ...), so it
    loads into one, and from one. With residuals or norms it is no `nn.GRU`, but its layers are
    those of one; norms add keys of their own (`norm_weight_l0`, `norm_bias_l0`, ...), so plain
    weights load with `strict=False`.

    Args:
        input_size: features of x.
        hidden_size: features of each layer's output.
        num_layers: layers in all.
        layers_per_block: layers per block; the last block has the rest.
        dropout: probability of dropping an output between layers.
        bias: whether layers have biases.
        bidirectional: whether blocks run in both directions of time: one bool for all, or one per
            block. No `nn.GRU` equals a stack that mixes them.
        h_0: where the initial states come from (see hidden.py): one policy for all blocks, or one
            per block.
        core: how a layer computes a chunk: `native` is torch's `nn.GRU`; `fused` keeps the gates
            for backward, `lean` works them out again; `auto` is fused on CPUs, else native.
        residual: whether each layer adds its inputs to its outputs, where both are as wide.
        norm: what normalises the inputs of each layer, one of `NORMS`.
        drops_last: whether dropout also follows the last layer, which it does not in `nn.GRU`.
        device: where the parameters are created.
        dtype: the parameters' type.
        kept_blocks: the blocks whose weights are kept. Those of other blocks are drawn layer by
            layer and dropped, and the blocks are on the meta device, so that each process draws the
            same weights for its part of a stack too large for one. None keeps all.

    Raises:
        UsageError: `bidirectional` or `h_0` is not one per block, or a policy is unknown or cannot
            work in its block.
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
        core: str = AUTO,
        residual: bool = False,
        norm: str = "none",
        drops_last: bool = False,
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
                last=spec.layers.stop == num_layers and not drops_last,
                dropout=dropout,
                h_0=spec.h_0,
                bias=bias,
                core=core,
                residual=residual,
                norm=norm,
                device=device if kept else "meta",
                dtype=dtype,
            )
            if not kept:
                others.draw(block)
            self.blocks.append(block)
        # torch has no types for these two.
        self.register_state_dict_post_hook(_rename_to_nn_gru)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_rename_from_nn_gru)  # type: ignore[no-untyped-call]

    def forward(
        self,
        x: Tensor,
        h_0: Tensor | None = None,
        key: DropoutKey | None = None,
        *,
        start: Start | None = None,
        batch_sizes: BatchSizes | None = None,
        n_decoding: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Run the whole stack in one piece, as `nn.GRU` would.

        Args:
            x: inputs, shape (time, batch, input_size).
            h_0: initial states, shape (n_states, batch, hidden_size), for blocks whose policy is
                `given`; None means zeros. Short for `start=Start(h_0)`.
            key: identifies the random numbers of dropout; None uses torch's global generator.
            start: what blocks of other policies start from.
            batch_sizes: rows at each step, if they end at different steps; the longest row comes
                first.
            n_decoding: the last steps that are after the window: each runs from the state in which
                the window leaves the layers.

        Returns:
            y: outputs of the last layer, shape (time, batch, output_size).
            h_n: final states of the window, shape (n_states, batch, hidden_size).

        Raises:
            ShapeError: x or h_0 does not fit.
        """
        start = start or Start(h_0)
        start.check(self.n_states, x.shape[1], self.hidden_size)
        start = start.for_rows(x.shape[1])
        if not torch.compiler.is_compiling():
            # A pipeline may have put weights together with those of other blocks.
            flatten_all((part for block in self.gru_blocks for part in block.gru_parts), {})
        states: list[Tensor] = []
        everything = slice(None)
        x, after = decoding.split(x, n_decoding) if n_decoding > 0 else (x, None)
        key_after = None if key is None else key.after()
        for block, states_of_block in zip(self.gru_blocks, self.state_slices, strict=True):
            before = states[-1] if states else None
            h = entering(block, x.shape[1], start.of(states_of_block, everything), before)
            x, h_n = block(x, h, key, batch_sizes)
            states.append(h_n)
            if after is not None:
                after, _ = block(after, decoding.spread(h_n, n_decoding), key_after)
        if after is not None:
            x = decoding.join(x, after, n_decoding)
        if x.requires_grad and core_on(x.device.type, self.gru_blocks[-1].core) != "native":
            # Whoever has it may change it in place, and B reads what the last layer gave.
            x = x.clone()
        return x, torch.cat(states)

    @property
    def gru_blocks(self) -> tuple[Block, ...]:
        """The blocks in order.

        Raises:
            UsageError: one of `blocks` is not a `Block`.
        """
        for block in self.blocks:
            if not isinstance(block, Block):
                raise UsageError(
                    f"A {type(block).__name__} is among the blocks of the stack; use a GRUBlock or"
                    " a class derived from it (to compile a block, call its compile method)."
                )
        return tuple(cast(list[Block], list(self.blocks)))

    @property
    def carries(self) -> bool:
        """Whether a block starts from its last state of the batch before."""
        return any(block.h_0 == "carry" for block in self.gru_blocks)

    @property
    def n_states(self) -> int:
        """Number of states: one per layer and direction."""
        return sum(block.n_states for block in self.gru_blocks)

    @property
    def output_size(self) -> int:
        """Features of y."""
        return self.gru_blocks[-1].output_size

    @property
    def state_slices(self) -> tuple[slice, ...]:
        """Where the states of each block are in h_0 and h_n."""
        ends = [0, *accumulate(block.n_states for block in self.gru_blocks)]
        return tuple(slice(first, stop) for first, stop in pairwise(ends))

    def nn_gru_names(self) -> dict[str, str]:
        """Map each parameter's name here to its name in `nn.GRU`, in the order of `nn.GRU`."""
        return names_of_stack(self.gru_blocks)


class _Draws:
    """Draws the weights of blocks that are not kept, all in the same memory.

    Freed block by block instead, their memory would not return to the system, because malloc keeps
    what is between memory in use: a process would grow to the size of the whole stack.
    """

    def __init__(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self._options: dict[str, Any] = {"device": device, "dtype": dtype}
        self._drawn: dict[tuple[int, int, int], nn.GRU] = {}

    def draw(self, block: Block) -> None:
        """Draw as many random numbers as the block's weights have."""
        for part in block.gru_parts:
            shape = part.input_size, part.hidden_size, part.num_layers
            if shape in self._drawn:
                self._drawn[shape].reset_parameters()
            else:
                self._drawn[shape] = nn.GRU(*shape, bias=part.bias, **self._options)


def _rename_to_nn_gru(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]
) -> None:
    """Rename a state dict's entries from the names of blocks to those of `nn.GRU`."""
    del local_metadata
    assert isinstance(module, GRUStack)
    for ours, name in module.nn_gru_names().items():
        state_dict[prefix + name] = state_dict.pop(prefix + ours)


def _rename_from_nn_gru(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    """Rename a state dict's entries from the names of `nn.GRU` to those of blocks, to load it."""
    del local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    assert isinstance(module, GRUStack)
    for ours, name in module.nn_gru_names().items():
        if prefix + name in state_dict:
            state_dict[prefix + ours] = state_dict.pop(prefix + name)
