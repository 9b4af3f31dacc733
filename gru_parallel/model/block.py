"""Block: consecutive layers of a GRU as one module; GRUBlock: those of one direction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import accumulate
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gru_parallel.choices import AUTO, NORMS, POLICIES
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model.copies import deep_copy
from gru_parallel.model.core.own import find_core
from gru_parallel.model.core.run import run_gru
from gru_parallel.model.core.tape import Tape
from gru_parallel.model.dropout import DropoutKey, dropout
from gru_parallel.model.ragged import BatchSizes
from gru_parallel.own_names import check_core


class Block(nn.Module, ABC):
    """One or more consecutive layers of a stack, with their weights and hidden states.

    The block computes what the same layers of one `nn.GRU` would, given their share of h_0. Dropout
    follows every layer but the last of the whole stack, so it also follows the last layer of a
    block before others.

    With a norm, a layer normalises its inputs first; with a residual it adds them, as they came, to
    its outputs after dropout, where both are as wide: y = x + GRU(norm(x)). This order, norm first,
    keeps a path from the last layer to the first on which nothing is multiplied (He et al.,
    Identity Mappings in Deep Residual Networks, 2016; Xiong et al., On Layer Normalization in the
    Transformer Architecture, 2020).

    Args:
        input_size: features of x.
        hidden_size: features of each layer's state.
        num_layers: layers in this block.
        first_layer: index of the block's first layer in the whole stack.
        last: whether the block's last layer is the last of the stack (no dropout after it).
        dropout: probability of dropping an output between layers, 0 <= dropout <= 1.
        h_0: where the initial state comes from, one of `POLICIES`.
        bias: whether layers have biases.
        core: how a layer computes a chunk, one of `CORES` or a full name of the caller's own.
        residual: whether layers add their inputs to their outputs.
        norm: what normalises the inputs of a layer, one of `NORMS`.
        device: where the parameters are created.
        dtype: the parameters' type.

    Attributes:
        n_directions: 1, or 2 if layers run in both directions of time.
        parts: the `nn.GRU`s that hold the weights, in the order of the layers.
    """

    n_directions: ClassVar[int]
    # Of a block that was pickled before there were any.
    core: str = AUTO
    residual: bool = False
    input_norm: str = "none"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        first_layer: int = 0,
        last: bool = True,
        dropout: float = 0.0,
        h_0: str = "given",
        bias: bool = True,
        core: str = AUTO,
        residual: bool = False,
        norm: str = "none",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"dropout={dropout} is not a probability; use 0 <= dropout <= 1.")
        if h_0 not in POLICIES:
            raise UsageError(f"model.h_0={h_0} is unknown; use one of {', '.join(POLICIES)}.")
        check_core(core)
        if norm not in NORMS:
            raise UsageError(f"model.norm={norm} is unknown; use one of {', '.join(NORMS)}.")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.first_layer = first_layer
        self.last = last
        self.dropout = dropout
        self.h_0 = h_0
        self.core = core
        self.residual = residual
        self.input_norm = norm
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        self.parts = nn.ModuleList(
            nn.GRU(
                self.output_size if first else input_size, hidden_size, size, bias=bias, **options
            )
            for size, (first, _) in zip(self.part_sizes, self.part_names, strict=True)
        )
        for name in self.learned_names:
            self.register_parameter(name, nn.Parameter(torch.zeros(hidden_size, **options)))
        for k in range(num_layers if norm == "layer" else 0):
            width = self.output_size if k else input_size
            for kind, fill in (("weight", torch.ones), ("bias", torch.zeros)):
                parameter = nn.Parameter(fill(width, **options))
                self.register_parameter(f"norm_{kind}_l{k}", parameter)

    @property
    def learned_names(self) -> tuple[str, ...]:
        """Names of the learned states in the order of the states; () if none is learned."""
        if self.h_0 != "learned":
            return ()
        suffixes = ("", "_reverse")[: self.n_directions]
        return tuple(f"h_0_l{k}{suffix}" for k in range(self.num_layers) for suffix in suffixes)

    @property
    def part_sizes(self) -> tuple[int, ...]:
        """For each of `parts`, its number of layers."""
        # Once they are there, an option that is changed does not change them.
        has_parts = "parts" in self._modules
        return tuple(p.num_layers for p in self.gru_parts) if has_parts else self._cut_into_parts()

    @property
    def layers(self) -> range:
        """Indices of the block's layers in the whole stack."""
        return range(self.first_layer, self.first_layer + self.num_layers)

    @property
    def n_states(self) -> int:
        """Number of states: one per layer and direction, in the order of `nn.GRU`'s h_n."""
        return self.num_layers * self.n_directions

    @property
    def output_size(self) -> int:
        """Features of y."""
        return self.hidden_size * self.n_directions

    @property
    def gru_parts(self) -> tuple[nn.GRU, ...]:
        """The `nn.GRU`s that hold the weights, in the order of the layers.

        Raises:
            UsageError: one of `parts` is not an `nn.GRU`.
        """
        for part in self.parts:
            if not isinstance(part, nn.GRU):
                raise UsageError(
                    f"A {type(part).__name__} is among the parts of a block; use an nn.GRU or a"
                    " class derived from it (to compile one, call its compile method)."
                )
        return tuple(cast("list[nn.GRU]", list(self.parts)))

    @property
    def is_barrier(self) -> bool:
        """Whether the block needs a whole sequence before it can begin, forward or backward."""
        return self.n_directions == 2 or self.h_0 == "previous"

    @property
    def reverse_parts(self) -> tuple[nn.GRU, ...]:
        """The `gru_parts` that run against the direction of time."""
        return tuple(
            part
            for part, (_, suffix) in zip(self.gru_parts, self.part_names, strict=True)
            if suffix
        )

    def weights(self) -> list[Tensor]:
        """Return all trained tensors, in the order of `nn.GRU`, learned states last."""
        return [*(w for part in self.gru_parts for w in weights_of(part)), *self.other_weights()]

    def other_weights(self) -> list[Tensor]:
        """Return the trained tensors that are not weights of its parts."""
        learned = self.learned_names
        # A class of the caller may have others beside the learned states.
        others = [
            weight
            for name, weight in self.named_parameters()
            if not name.startswith("parts.") and name not in learned
        ]
        return [*(getattr(self, name) for name in learned), *others]

    @property
    def some_weight(self) -> Tensor:
        """A weight, for its type and device: as it is, without computing a parametrized one."""
        part = self.parts[0]
        # Asked for what is no nn.GRU, gru_parts says what is wrong.
        some = part if isinstance(part, nn.GRU) else self.gru_parts[0]
        return cast("Tensor", some._flat_weights[0])

    @abstractmethod
    def _cut_into_parts(self) -> tuple[int, ...]:
        """Return for each of `parts` its number of layers."""

    @property
    @abstractmethod
    def part_names(self) -> tuple[tuple[int, str], ...]:
        """For each of `parts`, its first layer within the block and its names' suffix."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        key: DropoutKey | None = None,
        batch_sizes: BatchSizes | None = None,
        tape: Tape | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run a piece of a sequence through this block.

        Args:
            x: inputs, shape (time, batch, input_size).
            h_0: initial hidden state, shape (n_states, batch, hidden_size).
            key: identifies the random numbers of dropout; None uses torch's global generator.
            batch_sizes: rows at each step, if they end at different steps; the longest row comes
                first.
            tape: takes what B leaves for W, the weights' gradients, where the core can leave them,
                and with autograd off all that B needs; None has W run within B.

        Returns:
            y: outputs, shape (time, batch, output_size); after a row's end zero, or with a residual
                what was added.
            h_n: hidden state after each row's last step, shape (n_states, batch, hidden_size).

        Raises:
            ShapeError: x or h_0 does not fit this block, or they disagree in batch.
        """

    def drop(
        self, y: Tensor, layer: int, key: DropoutKey | None, tape: Tape | None = None
    ) -> Tensor:
        """Apply the dropout that follows a layer, if there is any.

        Args:
            y: the layer's outputs.
            layer: index of the layer in the whole stack.
            key: identifies the random numbers; None uses torch's global generator.
            tape: with autograd off, takes the mask for B.

        Returns:
            The inputs of the next layer, of the shape of `y`.
        """
        is_last = self.last and layer == self.layers.stop - 1
        if not self.training or self.dropout == 0.0 or is_last:
            return y
        if tape is None or key is None or torch.is_grad_enabled():
            return dropout(y, self.dropout, layer, key)
        return tape.multiply(y, key.mask(y, layer, 1.0 - self.dropout))

    def normed(self, x: Tensor, k: int) -> Tensor:
        """Normalise the inputs of the block's k-th layer over their features, if they are to be."""
        if self.input_norm == "none":
            return x
        weight, bias = (getattr(self, f"norm_{kind}_l{k}") for kind in ("weight", "bias"))
        return functional.layer_norm(x, weight.shape, weight, bias)

    def with_residual(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the inputs of a layer to its outputs, if they are to be and both are as wide."""
        # Autocast may have let the layer compute in another type.
        return y + x.to(y) if self.residual and x.shape[-1] == y.shape[-1] else y

    @property
    def is_plain(self) -> bool:
        """Whether layers do nothing but what those of `nn.GRU` do."""
        return not self.residual and self.input_norm == "none"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deep_copy(self, memo)

    def extra_repr(self) -> str:
        """Describe the block's layers."""
        return (
            f"layers {self.layers.start}-{self.layers.stop - 1}, dropout={self.dropout},"
            f" h_0={self.h_0}, core={self.core}, residual={self.residual}, norm={self.input_norm}"
        )

    def check(self, x: Tensor, h_0: Tensor) -> None:
        """Check the shapes of the inputs.

        Raises:
            ShapeError: x or h_0 does not fit this block, or they disagree in batch.
        """
        expected = (self.n_states, x.shape[1], self.hidden_size) if x.dim() == 3 else None
        if expected is None or x.shape[2] != self.input_size or tuple(h_0.shape) != expected:
            raise ShapeError(
                f"x of shape {tuple(x.shape)} and h_0 of shape {tuple(h_0.shape)} do not fit a"
                f" block that takes x as (time, batch, {self.input_size}) and h_0 as"
                f" ({self.n_states}, batch, {self.hidden_size})."
            )


class GRUBlock(Block):
    """A block whose layers run in the direction of time, so that it can run chunk by chunk."""

    n_directions = 1

    def _cut_into_parts(self) -> tuple[int, ...]:
        """Return for each of `parts` its number of layers.

        Without dropout the layers go into one call, in which cuDNN overlaps them; with dropout,
        norms or residuals something of this library is between them, so each layer is one call. So
        it is with a core of this library, which wants each layer's weights in one piece of a GPU's
        memory.
        """
        in_one_call = self.dropout == 0.0 and self.is_plain and find_core(self.core) is None
        return (self.num_layers,) if in_one_call else (1,) * self.num_layers

    @property
    def part_names(self) -> tuple[tuple[int, str], ...]:
        """For each of `parts`, its first layer within the block and its names' suffix."""
        firsts = accumulate(self.part_sizes[:-1], initial=0)
        return tuple((first, "") for first in firsts)

    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        key: DropoutKey | None = None,
        batch_sizes: BatchSizes | None = None,
        tape: Tape | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Block.forward`; a piece is one chunk of one micro-batch."""
        self.check(x, h_0)
        states: list[Tensor] = []
        layer = self.first_layer
        for part in self.gru_parts:
            first = layer - self.first_layer
            h = h_0[first : first + part.num_layers]
            y, h_n = run_gru(part, self.normed(x, first), h, batch_sizes, self.core, tape)
            states.append(h_n)
            layer += part.num_layers
            # A class of the caller's own may have another drop, and never gets a tape.
            given = () if tape is None else (tape,)
            x = self.with_residual(x, self.drop(y, layer - 1, key, *given))
        return x, states[0] if len(states) == 1 else torch.cat(states)


def weights_of(part: nn.GRU) -> list[Tensor]:
    """Return the trained tensors of a part of a block, in the order of `nn.GRU`."""
    weights = [weight for layer in part.all_weights for weight in layer]
    # A class of the caller may have others.
    names = part._flat_weights_names
    return [*weights, *(w for name, w in part.named_parameters() if name not in names)]
