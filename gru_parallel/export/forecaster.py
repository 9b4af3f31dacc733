"""Forecaster: a trained model as modules of torch alone, from a window to its forecast."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

from gru_parallel.export.level import at_level, centred_by, columns_of, for_each_number
from gru_parallel.export.trained import Scaling, Trained
from gru_parallel.model import Block, Windows, WindowView

Layer = tuple[Block, int]
"""A block, and the index of a layer within it."""


@dataclass(frozen=True)
class Part:
    """Consecutive layers of a stack that are one `nn.GRU`.

    Attributes:
        name: of the `nn.GRU` among the modules of the forecaster.
        start: what its layers start from: `zeros`, `learned`, `carry` or `previous`.
        states: where its states are among those of the whole stack.
        previous: where those are that it starts from, if it starts from those of a block before.
        has_norm: whether a layer norm is before it.
        has_residual: whether what comes in is added to what it gives out.
    """

    name: str
    start: str
    states: slice
    previous: slice
    has_norm: bool
    has_residual: bool

    @property
    def learned_name(self) -> str:
        """Name of the parameter that it starts from, if that is learned."""
        return self.name.replace("gru", "h_0")

    @property
    def norm_name(self) -> str:
        """Name of the layer norm before it, if there is one."""
        return self.name.replace("gru", "norm")

    @property
    def n_states(self) -> int:
        """Number of states: one per layer and direction."""
        n_states: int = self.states.stop - self.states.start
        return n_states


class Forecaster(nn.Module):
    """A trained model as an encoder, one `nn.GRU` or several, and a head.

    One `nn.GRU` is enough where all blocks run in the same directions and start from the same;
    one that starts from the last state of the block before is always one of its own, and so is each
    layer with a norm or a residual. They are called `gru`, `gru_2`, ..., learned states `h_0`,
    `h_0_2`, ..., and norms `norm`, `norm_2`, ...

    Args:
        trained: the model.

    Attributes:
        parts: what the stack is made of, in order.
        carries: whether `forward` takes h_0 and returns h_n.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        model = trained.model
        # They are frozen here, and not there.
        self.view = model.view or WindowView()
        self.encoder = deepcopy(model.encoder)
        self.head = deepcopy(model.head.linear)
        self.n_decoding = model.head.n_decoding
        self.every_step = model.head.every_step
        self.output_shape = tuple(model.head.output_shape)
        self.output = model.output
        self.n_columns = len(trained.columns)
        self.hidden_size = model.gru.hidden_size
        self.n_states = model.gru.n_states
        self.carries = model.gru.carries
        self.centre = trained.centre
        self.targets = trained.scaling.targets
        self.parts: list[Part] = []
        weights = model.gru.state_dict()
        n_states = 0
        for layers in _joined(model.gru.gru_blocks):
            self._add(layers, weights, n_states)
            n_states = self.parts[-1].states.stop
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Forecast.

        Args:
            x: standardised windows, shape `(batch, time, columns)`.
            h_0: what layers that carry their state start from, shape `(n_states, rows,
                hidden_size)`, if there are any; rows are those of the batch, or of its channels.

        Returns:
            Standardised forecasts, shape `(batch, horizon, targets)`, or with one forecast per
            step `(batch, time, targets)`; several numbers for each value, see `Output.exported`,
            are a further dimension. With h_0 also the final states, in its layout.
        """
        centred, anchor, scale = centred_by(self.centre, x)
        of_targets = Windows(centred, scale=columns_of(scale, self.targets))
        rows = self.view.rows_of(of_targets, self.n_decoding)
        y, after, n_after = self.encoder(rows.x), None, self.n_decoding
        if n_after > 0:
            # Steps after the window run as rows of one step.
            y, after = y[:, :-n_after], y[:, -n_after:].flatten(0, 1).unsqueeze(1)
        states: list[Tensor] = []
        for part in self.parts:
            y, h_n = self._through(part, y, self._start(part, y, h_0, states))
            states.append(h_n)
            if after is not None:
                after, _ = self._through(part, after, h_n.repeat_interleave(n_after, 1))
        y = self.output.prediction(self._scores(y, after), rows.scale)
        y = self.output.exported(self.view.predictions_of(y))
        y = at_level(y, anchor, self.targets)
        return (y, torch.cat(states)) if self.carries else y

    def _through(self, part: Part, y: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run a part, with the norm and the residual that it has."""
        normed = self.norm_of(part)(y) if part.has_norm else y
        outputs, h_n = self.run(part, normed, h_0)
        return (y + outputs if part.has_residual else outputs), h_n

    def _scores(self, y: Tensor, after: Tensor | None) -> Tensor:
        """Return the numbers of the head for each row."""
        if self.every_step:
            by_step: Tensor = self.head(y)
            return by_step
        if after is None:
            of_window: Tensor = self.head(y[:, -1]).unflatten(1, self.output_shape)
            return of_window
        horizon, n_targets = self.output_shape
        of_segments: Tensor = self.head(after).reshape(y.shape[0], -1, n_targets)[:, :horizon]
        return of_segments

    def run(self, part: Part, y: Tensor, h_0: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the layers of a part; return their outputs and final states."""
        outputs, h_n = self.gru_of(part)(y, h_0)
        return outputs, h_n

    def gru_of(self, part: Part) -> nn.GRU:
        """Return the `nn.GRU` of a part."""
        gru = self.get_submodule(part.name)
        assert isinstance(gru, nn.GRU)
        return gru

    def norm_of(self, part: Part) -> nn.LayerNorm:
        """Return the layer norm before a part."""
        norm = self.get_submodule(part.norm_name)
        assert isinstance(norm, nn.LayerNorm)
        return norm

    def learned_of(self, part: Part) -> Tensor:
        """Return the learned state of a part, shape `(n_states, 1, hidden_size)`."""
        return self.get_parameter(part.learned_name)

    def weights(self) -> dict[str, Tensor]:
        """Return the state dict, each tensor in memory of its own."""
        # torch.save would write the whole storage of a view.
        return {name: weight.clone() for name, weight in self.state_dict().items()}

    def _start(
        self, part: Part, y: Tensor, h_0: Tensor | None, states: Sequence[Tensor]
    ) -> Tensor | None:
        match part.start:
            case "learned":
                return self.learned_of(part).repeat(1, y.shape[0], 1)
            case "carry" if h_0 is not None:
                return h_0[part.states]
            case "previous":
                return torch.cat(list(states))[part.previous]
            case _:
                return None

    def _add(self, layers: Sequence[Layer], weights: dict[str, Tensor], first_state: int) -> None:
        """Add an `nn.GRU` of these layers, with their share of the stack's weights."""
        (block, k), name = layers[0], f"gru_{len(self.parts) + 1}" if self.parts else "gru"
        first_layer = block.first_layer + k
        input_size = block.output_size if k else block.input_size
        n_states = len(layers) * block.n_directions
        before = first_state - block.n_states
        part = Part(
            name,
            start_of(block),
            slice(first_state, first_state + n_states),
            slice(before, before + n_states),
            has_norm=block.input_norm != "none",
            has_residual=block.residual and input_size == block.output_size,
        )
        gru = nn.GRU(
            input_size,
            block.hidden_size,
            len(layers),
            bias=block.gru_parts[0].bias,
            batch_first=True,
            bidirectional=block.n_directions == 2,
            device="meta",
        )
        own = {key: weights[_counted_from(first_layer, key)] for key in gru.state_dict()}
        gru.load_state_dict(own, assign=True)
        self.add_module(name, gru)
        if part.has_norm:
            norm = nn.LayerNorm(input_size, device="meta")
            own = {key: weights[f"norm_{key}_l{first_layer}"] for key in norm.state_dict()}
            norm.load_state_dict(own, assign=True)
            self.add_module(part.norm_name, norm)
        if part.start == "learned":
            states = [state.detach() for layer in layers for state in _learned_by(*layer)]
            self.register_parameter(part.learned_name, nn.Parameter(torch.stack(states)[:, None]))
        self.parts.append(part)


class InUnits(nn.Module):
    """A forecaster that takes windows and gives forecasts in the units of the series, in float64.

    A float32 keeps seven digits, of which the level of a series may take most.

    Args:
        forecaster: of standardised windows.
        scaling: of the series.
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, forecaster: Forecaster, scaling: Scaling) -> None:
        super().__init__()
        self.forecaster = forecaster
        self.dtype = forecaster.head.weight.dtype
        self.register_buffer("mean", scaling.mean)
        self.register_buffer("scale", scaling.scale)
        targets = list(scaling.targets)
        self.register_buffer("target_mean", scaling.mean[targets])
        self.register_buffer("target_scale", scaling.scale[targets])

    def forward(self, x: Tensor, h_0: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Forecast, see `Forecaster.forward`; x and the forecast are float64, states are not."""
        forecast = self.forecaster(((x - self.mean) / self.scale).to(self.dtype), h_0)
        if isinstance(forecast, tuple):
            return self._in_units(forecast[0]), forecast[1]
        return self._in_units(forecast)

    def _in_units(self, forecast: Tensor) -> Tensor:
        scale, mean = (for_each_number(t, forecast) for t in (self.target_scale, self.target_mean))
        return forecast.double() * scale + mean


def has_bias(linear: nn.Linear) -> bool:
    """Whether a linear layer adds something."""
    return linear.bias is not None


def start_of(block: Block) -> str:
    """Return what a block starts from where no h_0 comes with the batch."""
    return "zeros" if block.h_0 == "given" else block.h_0


def _joined(blocks: Sequence[Block]) -> list[list[Layer]]:
    """Join consecutive layers that one `nn.GRU` can compute."""
    layers = [(index, (b, k)) for index, b in enumerate(blocks) for k in range(b.num_layers)]

    def kind(layer: tuple[int, Layer]) -> tuple[object, ...]:
        index, (block, k) = layer
        alone = index if block.h_0 == "previous" else -1
        between = None if block.is_plain else (index, k)
        return alone, between, start_of(block), block.n_directions

    return [[layer for _, layer in group] for _, group in groupby(layers, kind)]


def _learned_by(block: Block, k: int) -> list[Tensor]:
    """Return what the k-th layer of a block learns to start from, for each direction."""
    first = k * block.n_directions
    names = block.learned_names[first : first + block.n_directions]
    return [getattr(block, name) for name in names]


def _counted_from(first_layer: int, name: str) -> str:
    """Return the name that a weight of a part has in the whole stack."""
    kind, _, layer = name.rpartition("_l")
    number, _, reverse = layer.partition("_")
    return f"{kind}_l{first_layer + int(number)}{'_' + reverse if reverse else ''}"
