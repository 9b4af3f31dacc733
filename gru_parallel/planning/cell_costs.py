"""How long a part of a model takes on one cell: the words that all cost models share."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gru_parallel.placement.cluster import Device, Link
from gru_parallel.placement.model_spec import ModelSpec


class CellTimes(NamedTuple):
    """What one cell takes, in ms.

    Attributes:
        forward_ms: F.
        backward_ms: B where W is an action of its own.
        weights_ms: W.
        joint_ms: B where the weights' gradients are part of it.
    """

    forward_ms: float = 0.0
    backward_ms: float = 0.0
    weights_ms: float = 0.0
    joint_ms: float = 0.0

    def plus(self, other: "CellTimes") -> "CellTimes":
        """Add what another part takes on the same cell."""
        # One by one: a search adds up many.
        return CellTimes(
            self.forward_ms + other.forward_ms,
            self.backward_ms + other.backward_ms,
            self.weights_ms + other.weights_ms,
            self.joint_ms + other.joint_ms,
        )

    def times(self, factor: float) -> "CellTimes":
        """Return what so many such parts take."""
        return CellTimes(*(factor * one for one in self))


@dataclass(frozen=True)
class LayerKind:
    """All that the time of a layer of GRU depends on, beside its device and its cell.

    Attributes:
        input_size: features of its input.
        hidden_size: features that it gives out for each direction.
        bidirectional: whether it runs in both directions of time.
        core: how it computes a chunk, one of `CORES` but not "auto".
        has_dropout: whether outputs between layers are dropped.
        has_residual: whether layers add their inputs to their outputs.
        has_norm: whether layers normalise their inputs.
    """

    input_size: int
    hidden_size: int
    bidirectional: bool = False
    core: str = "native"
    has_dropout: bool = False
    has_residual: bool = False
    has_norm: bool = False

    @property
    def output_size(self) -> int:
        """Features of its output, both directions together."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def n_products(self) -> int:
        """Multiplications of its F for each row and step: one for each of its weights."""
        return 3 * self.output_size * (self.input_size + self.hidden_size)


@dataclass(frozen=True)
class LinearKind:
    """An encoder or a head.

    Attributes:
        in_features: of its input.
        out_features: of its output.
        every_step: whether it is applied at each step, or once, at the end of the window.
        is_head: whether the loss is worked out with it.
    """

    in_features: int
    out_features: int
    every_step: bool
    is_head: bool


class CostModel(Protocol):
    """How long the parts of a model take, on any cell and device.

    Some methods take the number of stages that compute at the same time on the device's machine,
    which share its caches and its memory. With any number between two others, a part takes no less
    than with one of these.

    Attributes:
        source: where the numbers are from, in a few words: "analytic", "measured on 2026-11-27".
    """

    @property
    def source(self) -> str:
        """See the class."""
        ...

    def layer(
        self, kind: LayerKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """Return what a layer takes on a cell of so many rows and steps."""
        ...

    def linear(
        self, kind: LinearKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """Return what an encoder or a head takes on a cell.

        A head without `every_step` takes it on the last cell of a micro-batch alone.
        """
        ...

    def around(self, device: Device, n_busy: float) -> CellTimes:
        """Return what a stage takes for each of its cells besides, whatever its parts are."""
        ...

    def link(self, one: Device, other: Device) -> Link:
        """Return what a hand-over from one device to another takes."""
        ...

    def step_ms(self, device: Device, n_parameters: int) -> float:
        """Return what a step takes besides its cells: the start, and the optimiser."""
        ...


@dataclass(frozen=True)
class Workload:
    """What is to be trained: a model, on batches of one size.

    Attributes:
        model: widths, directions and policies, block by block.
        n_rows: rows of a batch, those of all replicas: its windows, or one per window and channel.
        n_steps: time steps of a window, or its segments; without those that a decoder adds.
        n_weight_copies: numbers that are kept for each parameter: the weight, its gradient, and the
            states of the optimiser.
        bytes_per_number: of weights, gradients and states of the optimiser.
        bytes_per_activation: of what cells compute with.
    """

    model: ModelSpec
    n_rows: int
    n_steps: int
    n_weight_copies: int = 4
    bytes_per_number: int = 4
    bytes_per_activation: int = 4
