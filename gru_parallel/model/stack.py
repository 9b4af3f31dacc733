"""The stack of blocks, and the whole model around it: encoder, blocks, head.

Names survive any placement.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.errors import ShapeError
from gru_parallel.model import hidden
from gru_parallel.model.block import GRUBlock
from gru_parallel.model.dropout import DropoutKey
from gru_parallel.model.head import Head


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
        dtype: the parameters' type.
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
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.blocks = nn.ModuleList()
        starts = [*range(0, num_layers, layers_per_block), num_layers]
        for first, stop in pairwise(starts):
            block = GRUBlock(
                input_size if first == 0 else hidden_size,
                hidden_size,
                stop - first,
                first_layer=first,
                last=stop == num_layers,
                dropout=dropout,
                bias=bias,
                dtype=dtype,
            )
            self.blocks.append(block)
        # torch has no types for these two.
        self.register_state_dict_post_hook(_speak_nn_gru)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_hear_nn_gru)  # type: ignore[no-untyped-call]

    def forward(
        self, x: Tensor, h_0: Tensor | None = None, key: DropoutKey | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the whole stack in one piece, as `nn.GRU` would.

        Args:
            x: inputs, shape (time, batch, input_size).
            h_0: the state that enters each layer, shape (num_layers, batch, hidden_size); None
                means zeros.
            key: names the random numbers of dropout; None uses torch's global generator.

        Returns:
            y: outputs of the last layer, shape (time, batch, hidden_size).
            h_n: the state that leaves each layer, shape (num_layers, batch, hidden_size).

        Raises:
            ShapeError: x or h_0 does not fit.
        """
        if h_0 is not None and h_0.shape[0] != self.num_layers:
            raise ShapeError(
                f"h_0 of shape {tuple(h_0.shape)} gives states for {h_0.shape[0]} layers, the stack"
                f" has {self.num_layers}; use ({self.num_layers}, batch, {self.hidden_size})."
            )
        states = []
        for block in self.gru_blocks:
            if h_0 is None:
                h_block = hidden.zeros(block, x.shape[1])
            else:
                h_block = h_0[block.layers.start : block.layers.stop]
            x, h_n = block(x, h_block, key)
            states.append(h_n)
        return x, torch.cat(states)

    @property
    def gru_blocks(self) -> tuple[GRUBlock, ...]:
        """The blocks in order."""
        return tuple(block for block in self.blocks if isinstance(block, GRUBlock))

    def nn_gru_names(self) -> dict[str, str]:
        """Map each parameter's own name to the name that it has in `nn.GRU`, in that order."""
        names = {}
        for b, block in enumerate(self.gru_blocks):
            layer = block.first_layer
            for p, part in enumerate(block.gru_parts):
                for name, _ in part.named_parameters():
                    stem, _, local = name.rpartition("_l")
                    own = f"blocks.{b}.parts.{p}.{name}"
                    names[own] = f"{stem}_l{layer + int(local)}"
                layer += part.num_layers
        return names


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


class StackModel(nn.Module):
    """The whole model: encoder -> blocks -> head.

    Args:
        encoder: applied at every step, (time, batch, n_channels) -> (time, batch, input_size);
            `nn.Identity()` for none.
        stack: the blocks.
        head: from the stack's outputs to predictions.
    """

    def __init__(self, encoder: nn.Module, stack: GRUStack, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = stack
        self.head = head

    def forward(self, x: Tensor, key: DropoutKey | None = None) -> Tensor:
        """Predict in one piece on one device: the reference that the pipeline must equal.

        Args:
            x: windows, shape (batch, time, n_channels).
            key: names the random numbers of dropout; None uses torch's global generator.

        Returns:
            Predictions as the head gives them, batch first.
        """
        y, _ = self.gru(self.encoder(x.transpose(0, 1)), None, key)
        prediction: Tensor = self.head(y)
        return prediction
