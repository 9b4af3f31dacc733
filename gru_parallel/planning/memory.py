"""What each stage of a plan needs of memory, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from operator import add, sub

from gru_parallel.choices import core_on
from gru_parallel.placement.cost import (
    BYTES_PER_NUMBER,
    N_GATES,
    LayerCost,
    block_costs,
    input_bytes,
    mask_bytes,
)
from gru_parallel.placement.grid import Grid
from gru_parallel.placement.model_spec import BlockSpec
from gru_parallel.planning.activations import all_activation_bytes, recomputed_bytes
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.runs import Runs

N_WITHOUT_STATES = 2
"""Numbers of a parameter that are not a state of the optimiser: the weight and its gradient."""

AUTOGRAD_BYTES = 2**14
"""What autograd itself takes for a time step of a layer with the core `native` on a CPU, whatever
its sizes: some ten nodes and the tensors that they save (peak RSS of the peers benchmark)."""


@dataclass(frozen=True)
class StageMemory:
    """What one stage needs in a training step, in bytes.

    Attributes:
        weight_bytes: weights, with the copies in the type that is computed with if it is another.
        gradient_bytes: their gradients, which are summed in float32 at least.
        optimizer_bytes: states of the optimiser.
        activation_bytes: what F keeps for B and W, of the cells that are alive at once.
        workspace_bytes: products of one layer on one cell: gates, their gradients, and the gradient
            of its weights before it is added; and what autograd itself takes.
        graph_bytes: what replayed steps keep besides, for all cells: what comes from the
            neighbours and goes to them, masks of dropout, and a copy of the gradients.
    """

    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    workspace_bytes: int
    graph_bytes: int = 0

    def __add__(self, other: StageMemory) -> StageMemory:
        """Add what another stage needs."""
        return StageMemory(*map(add, self._parts, other._parts))

    def __sub__(self, other: StageMemory) -> StageMemory:
        """Take away what is somewhere else."""
        return StageMemory(*map(sub, self._parts, other._parts))

    def times(self, number: int) -> StageMemory:
        """Return what so many such stages need."""
        return StageMemory(*(number * n_bytes for n_bytes in self._parts))

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return sum(self._parts)

    @property
    def _parts(self) -> tuple[int, ...]:
        # Not dataclasses.astuple, which copies deeply: a search adds up many.
        return tuple(vars(self).values())

    @property
    def fixed_bytes(self) -> int:
        """What is needed however the batch is cut: weights, gradients, states of the optimiser."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes


@dataclass(frozen=True)
class MemoryModel:
    """What stages need, of one model on one replica's share of the batch.

    Attributes:
        workload: the model, and the batch of all replicas.
        grid: how they are cut.
        devices: of each block, which say what the core `auto` stands for.
        n_replicas: that share the rows of a batch.
        replays: whether steps are recorded and replayed.
    """

    workload: Workload
    grid: Grid
    devices: Sequence[str]
    n_replicas: int = 1
    replays: bool = False

    @property
    def n_rows(self) -> int:
        """Windows of the replica that has most of them."""
        return ceil(self.workload.n_rows / self.n_replicas)

    def stage(self, blocks: range, n_alive: int, n_waiting: int = 0) -> StageMemory:
        """Return what a stage needs.

        Args:
            blocks: of the stage.
            n_alive: cells that are between F and the end of B, or of W, at once.
            n_waiting: of these, at most so many between B and the end of W; 0 where W is part of B.
        """
        is_end = blocks.start == 0, blocks.stop == len(self.devices)
        key = self._runs.within(blocks), is_end, n_alive, n_waiting
        if key not in self._known:
            self._known[key] = self._stage(blocks, n_alive, n_waiting)
        return self._known[key]

    def _stage(self, blocks: range, n_alive: int, n_waiting: int) -> StageMemory:
        workload, costs = self.workload, self._costs[blocks.start : blocks.stop]
        n_parameters = sum(cost.n_parameters for cost in costs)
        per_number, computed = workload.bytes_per_number, workload.bytes_per_activation
        counted = recomputed_bytes if self.grid.recomputes else all_activation_bytes
        n_kept = 1 if self.grid.recomputes else n_alive
        n_states = workload.n_weight_copies - N_WITHOUT_STATES
        return StageMemory(
            weight_bytes=n_parameters * (per_number + (computed if computed < per_number else 0)),
            gradient_bytes=n_parameters * max(per_number, BYTES_PER_NUMBER),
            optimizer_bytes=n_parameters * n_states * per_number,
            activation_bytes=self._in_type(
                counted(costs, self.grid, self._as_even(n_alive), self._as_even(n_waiting))
            ),
            workspace_bytes=max(map(self._workspace_bytes, blocks))
            + n_kept * sum(map(self._autograd_bytes, blocks)),
            graph_bytes=self._graph_bytes(blocks, n_parameters) if self.replays else 0,
        )

    def second(self, blocks: range, whole: StageMemory) -> StageMemory:
        """Return what of a stage is on a second device: the reverse direction of its blocks.

        Args:
            blocks: of the stage.
            whole: what all of it needs.
        """
        model, costs = self.workload.model, self._costs[blocks.start : blocks.stop]
        reverse = [model.blocks[index] for index in blocks if model.blocks[index].bidirectional]
        n_parameters = sum(cost.n_parameters for cost in costs)
        n_kept = sum(cost.activation_bytes for cost in costs)
        n_there = sum(map(_reverse_parameters, reverse))
        n_kept_there = sum(cost.activation_bytes for cost in costs if cost.is_bidirectional) / 2

        def there(n_bytes: int) -> int:
            return n_bytes * n_there // n_parameters

        return StageMemory(
            weight_bytes=there(whole.weight_bytes),
            gradient_bytes=there(whole.gradient_bytes),
            optimizer_bytes=there(whole.optimizer_bytes),
            activation_bytes=int(whole.activation_bytes * n_kept_there / max(1, n_kept)),
            workspace_bytes=whole.workspace_bytes // 2 if reverse else 0,
        )

    @cached_property
    def _costs(self) -> tuple[LayerCost, ...]:
        """The cost of each block in float32; masks are kept as activations unless in graphs."""
        costs = block_costs(self.workload.model, *self._sizes, self.devices)
        if self.replays:
            return costs
        return tuple(
            replace(cost, activation_bytes=cost.activation_bytes + n_bytes) if n_bytes else cost
            for cost, n_bytes in zip(costs, self._masks, strict=True)
        )

    @cached_property
    def _runs(self) -> Runs:
        """Where blocks alike follow one another: stages alike need the same."""
        kinds = (device.partition(":")[0] for device in self.devices)
        forms = ((b.input_size, b.output_size, b.n_states) for b in self.workload.model.blocks)
        return Runs([*zip(self._costs, forms, kinds, strict=True)])

    @cached_property
    def _known(self) -> dict[object, StageMemory]:
        return {}

    @cached_property
    def _masks(self) -> tuple[int, ...]:
        model = self.workload.model
        return mask_bytes(model, *self._sizes) if model.has_dropout else (0,) * len(model.blocks)

    @cached_property
    def _inputs(self) -> tuple[int, ...]:
        return input_bytes(self.workload.model, *self._sizes)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.workload.n_steps + self.workload.model.n_decoding, self.n_rows

    def _as_even(self, n_cells: int) -> int:
        """Return how many cells of equal size have as many steps as so many cells in a row.

        The last cell of each micro-batch has all the steps after the window.
        """
        n_chunks, n_steps = self.grid.n_chunks, self.workload.n_steps
        n_after = self.workload.model.n_decoding * ceil(n_cells / n_chunks)
        return ceil((n_cells * n_steps + n_chunks * n_after) / self._sizes[0])

    def _in_type(self, n_bytes: int) -> int:
        """Return what float32 takes in the type that is computed with."""
        return n_bytes * self.workload.bytes_per_activation // BYTES_PER_NUMBER

    def _autograd_bytes(self, index: int) -> int:
        """What autograd takes of a block for one cell."""
        device, block = self.devices[index], self.workload.model.blocks[index]
        is_cpu = device.partition(":")[0] == "cpu"
        if not is_cpu or core_on(device, self.workload.model.core) != "native":
            return 0
        return AUTOGRAD_BYTES * block.n_states * ceil(self.workload.n_steps / self.grid.n_chunks)

    def _workspace_bytes(self, index: int) -> int:
        """Gates and their gradients of a layer on one cell, and the gradient of its weights."""
        block, workload = self.workload.model.blocks[index], self.workload
        n_chunks = 1 if block.bidirectional else self.grid.n_chunks
        n_steps = max(ceil(workload.n_steps / n_chunks), workload.model.n_decoding)
        n_read = ceil(self.n_rows / self.grid.n_micro_batches) * n_steps
        n_gates = 2 * N_GATES * block.output_size * n_read
        n_weights = N_GATES * block.output_size * (block.input_size + block.hidden_size)
        return n_gates * workload.bytes_per_activation + n_weights * workload.bytes_per_number

    def _graph_bytes(self, blocks: range, n_parameters: int) -> int:
        # Outputs and their gradients lie on both sides of a boundary; the batch on one.
        before = self._inputs[blocks.start] * (1 if blocks.start == 0 else 2)
        after = 2 * self._inputs[blocks.stop] if blocks.stop < len(self._inputs) else 0
        kept = before + after + sum(self._masks[blocks.start : blocks.stop])
        return self._in_type(kept) + n_parameters * self.workload.bytes_per_number


def _reverse_parameters(block: BlockSpec) -> int:
    """Parameters of one direction of a bidirectional block."""
    widths = [block.input_size, *[block.output_size] * (len(block.layers) - 1)]
    return sum(N_GATES * block.hidden_size * (width + block.hidden_size + 2) for width in widths)
