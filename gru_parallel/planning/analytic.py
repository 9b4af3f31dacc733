"""AnalyticCosts: how long a part of a model takes on a device that nobody has at hand.

A roofline for GRU layers. A time step waits for the one before it, so it takes its latency however
little there is to compute, and beside that its product with the state: as long as the arithmetic
takes, or as long as it takes to read the weights where they fit into no cache. Products over all
steps of a cell, of its inputs and for the weights' gradients, run at the rate of large products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from gru_parallel.errors import UsageError
from gru_parallel.own_names import counted_as
from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.placement.cost import N_GATES
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind


class Parts(NamedTuple):
    """One number for each of F, B and W."""

    forward: float
    backward: float
    weights: float


@dataclass(frozen=True)
class CoreCosts:
    """What a core does besides the products that all of them have, on one kind of device.

    Attributes:
        steps: per time step, in multiples of `Speed.step_ms`.
        numbers: that are read or written per row, step and unit.
        passes: over all weights of the layer, per cell.
        weights_by_step: passes over the weights of the state in B, per time step.
        again: whether B works out the gates of all steps again.
        separates: whether W can be apart from B.
    """

    steps: Parts
    numbers: Parts
    passes: Parts
    weights_by_step: float = 0.0
    again: bool = False
    separates: bool = True


# Fitted to CPU times of F, B and W of a layer, uncut and in chunks of 6 steps, H from 64 to 512 and
# 4 to 64 rows, on an AMD EPYC with torch 2.13 (benchmarks/results/cells-two-cores.json); F is two
# fifths of a step of `fused` (docs/design/0012). nn.GRU takes some ten operators and nodes of
# autograd per step, and adds up the gradient of the state's weights step by step.
ON_CPU = {
    "native": CoreCosts(
        Parts(3, 8.5, 0), Parts(20, 25, 0), Parts(0.5, 1.5, 0), 2.3, separates=False
    ),
    "fused": CoreCosts(Parts(1, 1, 0), Parts(28, 30, 7), Parts(0.5, 0.5, 2)),
    "lean": CoreCosts(Parts(1, 1, 0), Parts(24, 50, 7), Parts(0.5, 0.5, 2), again=True),
}

# `native` is cuDNN, fitted to one H200 (docs/gpus.md, and the graph columns of what was measured
# there). Neither `fused` nor `lean` has run on a GPU: assumed are five kernels per step in F and
# three in B, where cuDNN has one or two.
ON_ACCELERATOR = {
    "native": CoreCosts(Parts(1, 1, 0), Parts(4, 4, 4), Parts(1, 1, 1), separates=False),
    "fused": CoreCosts(Parts(3, 2, 0), Parts(12, 12, 4), Parts(1, 1, 1)),
    "lean": CoreCosts(Parts(3, 2, 0), Parts(10, 20, 4), Parts(1, 1, 1), again=True),
}

# In a dropout behind a layer: a random number and the product in F, the product in B; assumed.
DROPOUT_NUMBERS = Parts(12, 4, 0)

# A residual reads two and writes one number in F, and leaves B a sum; a norm reads its inputs twice
# and writes them once in F, and about twice that in B; counted, not measured.
RESIDUAL_NUMBERS = Parts(3, 3, 0)
NORM_NUMBERS = Parts(3, 6, 0)

# cuDNN has kernels that run all steps of float32 at once up to these hidden sizes, and needs 3.5
# instead of 9.2 microseconds per step in F and B then (H200, H=128).
PERSISTENT_UP_TO = Parts(192, 128, 0)
PERSISTENT_STEPS = 0.38

# Without graphs the host queues the kernels of each step: on the H200's machine 0.018 ms per layer
# and step in each of F and B, and 0.35 ms per layer and cell (fitted to the eager columns). Several
# threads of one process get in each other's way: four of them were as slow as one after the other.
HOST_STEP_MS = 0.018
HOST_CELL_MS = 0.35


@dataclass(frozen=True)
class NumberType:
    """In what type a model computes, on accelerators relative to float32 with TF32.

    Attributes:
        n_bytes: of a number.
        rate: of products on accelerators.
        steps: what a time step takes there.
        cpu_rate: of products on CPUs, relative to float32.
    """

    n_bytes: int
    rate: float = 1.0
    steps: float = 1.0
    cpu_rate: float = 1.0


NUMBER_TYPES = {
    "tf32": NumberType(4),
    # Data sheet of the H100: 67 TFLOP/s without tensor cores, of which half is assumed to be
    # reached; measured are 90 with TF32.
    "float32": NumberType(4, rate=0.37),
    # Data sheet of the H100: 67 TFLOP/s with tensor cores, half of it assumed.
    "float64": NumberType(8, rate=0.37, steps=1.5, cpu_rate=0.5),
    # H200: products at 250 TFLOP/s, and 6.5 microseconds per step. On CPUs assumed to be as
    # fast as float32: it depends on the CPU, by factors either way.
    "bfloat16": NumberType(2, rate=2.8, steps=0.7),
    "float16": NumberType(2, rate=2.8, steps=0.7),
}
"""By name; "tf32" is float32 as torch computes it by default, which on CPUs is float32."""

# What is read again at every step does not fit: L2 of one core (1 MB on server CPUs) and of a card
# (data sheets: 50 MB on an H100 or H200, 40 MB on an A100).
CPU_CACHE_BYTES = 1e6
ACCELERATOR_CACHE_BYTES = 4e7

# Cells of two stages on two cores took up to 1.18 times as long as alone (peers benchmark, beside
# the cells'): they share caches and memory. More than two are extrapolated.
MOST_SLOWED_BY_OTHERS = 0.36

# Shares of `Speed.cell_ms`. On a CPU a stage takes about 0.05 ms per cell besides its layers: 2 to
# 4 % of small cells (benchmarks/README.md, speed, "by the engine").
AROUND = Parts(0.25, 0.25, 0.1)
LINEAR = Parts(0.3, 0.3, 0.3)
LOSS = 0.5

# From the call of a step to its first cell, measured on a CPU; the same host is assumed on a GPU.
START_MS = 0.5


ANALYTIC = "analytic"


class AnalyticCosts:
    """The costs of layers and hand-overs by the speeds of a cluster; a `CostModel`.

    Args:
        cluster: has the links and, with each device, its speed.
        number: what is computed with, one of `NUMBER_TYPES`.
        graphs: whether accelerators replay recorded steps.
        n_weight_copies: numbers that are kept for each parameter, see `Workload`.
        bytes_per_number: of these.
        source: how a person is told that these are estimates.

    Raises:
        UsageError: there is no such type of number.
    """

    def __init__(
        self,
        cluster: Cluster,
        number: str = "tf32",
        *,
        graphs: bool = True,
        n_weight_copies: int = 4,
        bytes_per_number: int = 4,
        source: str = ANALYTIC,
    ) -> None:
        if number not in NUMBER_TYPES:
            raise UsageError(
                f"number={number} is not a type of number; use one of {', '.join(NUMBER_TYPES)}."
            )
        self.source = source
        self._cluster = cluster
        self._number = NUMBER_TYPES[number]
        self._graphs = graphs
        self._bytes_of_a_step = (2 * n_weight_copies - 1) * bytes_per_number

    def layer(
        self, kind: LayerKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """Return what a layer takes on a cell of so many rows and steps.

        Where the core cannot leave W for later, it is part of B.
        """
        core = (ON_CPU if device.is_cpu else ON_ACCELERATOR)[counted_as(kind.core)]
        parts = self._layer_parts(kind, core, device, rows, steps)
        if not core.separates:
            parts = Parts(parts.forward, parts.backward + parts.weights, 0.0)
        if device.is_cpu:
            parts = _slowed(parts, n_busy)
        elif not self._graphs:
            parts = _queued(parts, core, kind, self._number, steps, n_busy)
        one_way = _cell_times(parts)
        return one_way.times(2) if kind.bidirectional else one_way

    def linear(
        self, kind: LinearKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """Return what an encoder or a head takes on a cell.

        A head without `every_step` is applied to the rows of a micro-batch, an encoder has no
        gradient of its input.
        """
        n_weights = kind.in_features * kind.out_features
        n_read = rows * steps if kind.every_step else rows
        features = kind.in_features + kind.out_features
        product_ms = self._product_ms(device, n_weights, n_read)
        moved_ms = self._moved_ms(device, features * n_read + n_weights)
        fixed = [share * device.speed.cell_ms for share in LINEAR]
        if kind.is_head:
            fixed[0] += LOSS * device.speed.cell_ms
            fixed[1] += LOSS * device.speed.cell_ms
        forward, backward, weights = (ms + product_ms + moved_ms for ms in fixed)
        parts = Parts(forward, backward if kind.is_head else 0.0, weights)
        return _cell_times(_slowed(parts, n_busy) if device.is_cpu else parts)

    def around(self, device: Device, n_busy: float) -> CellTimes:
        """Return what a stage takes for each of its cells besides, whatever its parts are."""
        return _cell_times(Parts(*(share * device.speed.cell_ms for share in AROUND)))

    def link(self, one: Device, other: Device) -> Link:
        """Return what a hand-over from one device to another takes."""
        return self._cluster.link(one, other)

    def step_ms(self, device: Device, n_parameters: int) -> float:
        """Return what a step takes besides its cells: the start, and the optimiser.

        The optimiser reads all that is kept for each parameter, and writes all but its gradient.
        """
        return START_MS + 1e3 * n_parameters * self._bytes_of_a_step / device.speed.bytes_per_s

    def _layer_parts(
        self, kind: LayerKind, core: CoreCosts, device: Device, rows: float, steps: float
    ) -> Parts:
        hidden = kind.hidden_size
        n_of_input, n_of_state = N_GATES * hidden * kind.input_size, N_GATES * hidden * hidden
        n_all = n_of_input + n_of_state
        state_ms = self._state_product_ms(device, n_of_state, rows)
        by_step_ms = self._moved_ms(device, core.weights_by_step * n_of_state)
        between = [
            numbers
            for numbers, is_there in (
                (DROPOUT_NUMBERS, kind.has_dropout),
                (RESIDUAL_NUMBERS, kind.has_residual),
                (NORM_NUMBERS, kind.has_norm),
            )
            if is_there
        ]

        def part(index: int, n_in_products: int, each_step_ms: float) -> float:
            latency_ms = core.steps[index] * device.speed.step_ms
            if not device.is_cpu:
                latency_ms *= self._number.steps * _persistent(kind, self._number, index)
            n_numbers = core.numbers[index] + sum(numbers[index] for numbers in between)
            n_moved = n_numbers * rows * steps * hidden
            return (
                device.speed.cell_ms
                + steps * (latency_ms + each_step_ms)
                + self._product_ms(device, n_in_products, rows * steps)
                + self._moved_ms(device, n_moved + core.passes[index] * n_all)
            )

        return Parts(
            part(0, n_of_input, state_ms),
            part(1, n_of_input + (n_all if core.again else 0), state_ms + by_step_ms),
            part(2, n_all, 0.0),
        )

    def _state_product_ms(self, device: Device, n_weights: int, rows: float) -> float:
        """The product of one step, which reads its weights anew where they fit into no cache."""
        product_ms = self._product_ms(device, n_weights, rows)
        cache_bytes = CPU_CACHE_BYTES if device.is_cpu else ACCELERATOR_CACHE_BYTES
        if n_weights * self._number.n_bytes <= cache_bytes:
            return product_ms
        return max(product_ms, self._moved_ms(device, n_weights))

    def _product_ms(self, device: Device, n_weights: int, n_rows: float) -> float:
        rate = self._number.cpu_rate if device.is_cpu else self._number.rate
        return 1e3 * 2 * n_weights * n_rows / (rate * device.speed.flops_per_s)

    def _moved_ms(self, device: Device, n_numbers: float) -> float:
        return 1e3 * n_numbers * self._number.n_bytes / device.speed.bytes_per_s


def _cell_times(parts: Parts) -> CellTimes:
    return CellTimes(*parts, joint_ms=parts.backward + parts.weights)


def _slowed(parts: Parts, n_busy: float) -> Parts:
    """Return what parts take on a CPU while other stages compute, too."""
    factor = 1 + MOST_SLOWED_BY_OTHERS * (1 - 1 / n_busy)
    return Parts(*(factor * ms for ms in parts))


def _persistent(kind: LayerKind, number: NumberType, index: int) -> float:
    """Return what a step takes of its usual time, where cuDNN runs all steps in one kernel."""
    is_fit = kind.core == "native" and number.n_bytes == 4
    return PERSISTENT_STEPS if is_fit and kind.hidden_size <= PERSISTENT_UP_TO[index] else 1.0


def _queued(
    parts: Parts, core: CoreCosts, kind: LayerKind, number: NumberType, steps: float, n_busy: float
) -> Parts:
    """Return what parts take where the host queues every kernel: no less than that takes."""

    def host_ms(index: int) -> float:
        is_one_kernel = _persistent(kind, number, index) < 1
        n_steps = 0.0 if is_one_kernel else core.steps[index] * steps
        return n_busy * (HOST_CELL_MS + HOST_STEP_MS * n_steps)

    return Parts(*(ms and max(ms, host_ms(index)) for index, ms in enumerate(parts)))
