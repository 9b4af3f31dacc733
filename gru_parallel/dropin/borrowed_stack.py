"""BorrowedStack: stages whose blocks compute with the weights of the caller's module."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import is_
from threading import RLock

import torch
from torch import Tensor, nn

from gru_parallel.choices import AUTO
from gru_parallel.engine.borrowed_model import form_of
from gru_parallel.engine.context import autocast_of
from gru_parallel.engine.graphs import N_KINDS, graphs_for
from gru_parallel.engine.inline import Inline
from gru_parallel.engine.passes import Passes
from gru_parallel.engine.stages import lowered_schedule, make_stages
from gru_parallel.engine.workers import Workers
from gru_parallel.model import GRUStack, Windows
from gru_parallel.model.autocast import computing_type, renew
from gru_parallel.model.flat_weights import compute_with, flatten_all
from gru_parallel.model.private import make_private
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import Op, computed_only, segments_of
from gru_parallel.stage.cells import Cells, over_the_batch
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import StageModules
from gru_parallel.stage.stage_pass import StagePass


@dataclass(frozen=True)
class Borrowed:
    """What the blocks have in the place of the weights of the caller's module.

    Attributes:
        asked: by autocast, on each kind of device, at that time.
        weights: of the module; None in the place of one that a parametrization computes.
        forms: where each weight was, and in which form.
        leaves: what the blocks have.
        copies: leaves in another type, each with its weight.
        modules: of the stages, with these leaves.
        readers: calls whose B is to read them.
    """

    asked: Mapping[str, torch.dtype | None]
    weights: list[nn.Parameter | None]
    forms: list[object]
    leaves: list[Tensor]
    copies: list[tuple[Tensor, Tensor]]
    modules: list[StageModules]
    readers: list[weakref.ref[Passes]] = field(default_factory=list)

    def holds(self, weights: Sequence[Tensor], asked: Mapping[str, torch.dtype | None]) -> bool:
        """Whether the blocks would compute with these weights as they are now."""
        return (
            asked == self.asked
            and len(weights) == len(self.weights)
            and all(map(is_, weights, self.weights))
            and [*map(form_of, weights)] == self.forms
        )

    @property
    def is_read(self) -> bool:
        """Whether a call has still to read what the copies are now."""
        self.readers[:] = [reader for reader in self.readers if reader() is not None]
        return bool(self.copies and self.readers)


class BorrowedStack:
    """The pipeline of an `nn.GRU` whose parameters stay its own, F now, B and W later.

    Threads take turns with it.

    Args:
        gru: whose layers they are.
        plan: how its layers are cut and placed.
        in_thread: whether the only stage runs in the caller's own thread.
        core: how a layer computes a chunk.
        graphs: whether calls are recorded and replayed; see `Graphs`.
    """

    def __init__(
        self,
        gru: nn.GRU,
        plan: Plan,
        *,
        in_thread: bool,
        core: str = AUTO,
        graphs: bool | None = None,
    ) -> None:
        self._stack = GRUStack(
            gru.input_size,
            gru.hidden_size,
            gru.num_layers,
            plan.grid.layers_per_block,
            dropout=gru.dropout,
            bias=gru.bias,
            bidirectional=gru.bidirectional,
            core=core,
            device="meta",
        )
        for module in self._stack.modules():
            make_private(module)
        blocks, states = self._stack.gru_blocks, self._stack.state_slices
        ranges = [slice(placed.blocks.start, placed.blocks.stop) for placed in plan.stages]
        modules = [StageModules(None, blocks[here], states[here], None) for here in ranges]
        self._stages = make_stages(plan, modules)
        self._plan = plan
        self._runner = Inline() if in_thread else Workers(self._stages)
        self._graphs = graphs_for(graphs, self._stages, self._stages, overlap=True)
        self._borrowed: list[Borrowed] = []
        # Reentrant: a checkpoint runs F again in the midst of B.
        self._turn = RLock()

    def forward(
        self,
        windows: Windows,
        weights: Sequence[Tensor],
        *,
        training: bool,
        seed: int,
        gradients: bool,
    ) -> tuple[Passes, Tensor, Tensor]:
        """Run F of a batch.

        Args:
            windows: inputs x of shape (batch, time, input_size), lengths and h_0.
            weights: of the module at this moment, in the order of `nn.GRU`. Parameters move to
                their stages.
            training: whether there is dropout.
            seed: of dropout.
            gradients: whether B is to follow.

        Returns:
            passes: what B needs; the two tensors are no part of it.
            y: outputs of the last layer, (time, batch, features), zero after a row's end.
            h_n: last states, shape (n_states, batch, hidden_size).

        Raises:
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        x, grid = windows.x, self._plan.grid
        # Sequences come in any length: a short one is cut into its steps.
        n_chunks = min(grid.n_chunks, x.shape[1])
        with self._turn:
            asked = autocast_of(device for stage in self._stages for device in stage.devices)
            borrowed = self._borrow(weights, asked)
            self._use(borrowed, training=training)
            cells = Cells.cut(len(x), x.shape[1], grid.n_micro_batches, n_chunks, windows.lengths)
            spec = PassSpec(
                Purpose.DIFFERENTIATE,
                windows,
                cells,
                segments_of(n_chunks, None),
                seed=seed,
                wants_dx=x.requires_grad,
                separates_weights=gradients and self._separates_weights(cells),
                recompute=gradients and grid.recomputes,
            )
            passes = self._passes(spec, gradients=gradients)
            if borrowed.copies and gradients:
                borrowed.readers.append(weakref.ref(passes))
            if spec.recompute:
                read = (*borrowed.leaves, x, windows.h_0)
                passes.read = [(each, each._version) for each in read if each is not None]
                passes.prepare = partial(self._use, borrowed, training=training)
            lowered = lowered_schedule(self._plan, self._stages, spec.cells, Op.F)
            self._runner.run(passes, lowered, gradients=gradients)
            return passes, *_results(passes)

    def backward(
        self, passes: Passes, dy: Tensor | None, dh_n: Tensor | None
    ) -> list[Tensor | None]:
        """Run B and W of a batch, once or more often.

        Args:
            passes: what F left.
            dy: gradient of the outputs, shape (time, batch, features); None for none.
            dh_n: gradient of the last states, shape (n_states, batch, hidden_size); None for none.

        Returns:
            The gradients of x, h_0 and each weight in the order of the stages; None where one was
            not wanted, or there is none.

        Raises:
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        spec, h_0 = passes[0].spec, passes[0].spec.windows.h_0
        passes.check_versions()
        with self._turn:
            if passes.prepare is not None:
                passes.prepare()
            for each in passes:
                each.give_gradients(None if dy is None else dy.transpose(0, 1), dh_n)
            lowered = lowered_schedule(self._plan, self._stages, spec.cells, Op.B)
            self._runner.run(passes, lowered, gradients=True)
            dx = dh_0 = None
            if spec.wants_dx:
                dx = over_the_batch(passes[0].dx, spec.cells).transpose(0, 1)
            if h_0 is not None and h_0.requires_grad:
                dh_0 = torch.cat([each.dh_0().to(h_0.device) for each in passes])
            return [dx, dh_0, *(g for each in passes for g in each.weight_gradients())]

    def _separates_weights(self, cells: Cells) -> bool:
        return lowered_schedule(self._plan, self._stages, cells, Op.B).separates_weights

    def _passes(self, spec: PassSpec, *, gradients: bool) -> Passes:
        """Make the passes of a call, or take what has been recorded of calls like it."""
        if self._graphs is None:
            return Passes(StagePass(stage, spec) for stage in self._stages)
        lasting = [borrowed.modules for borrowed in self._borrowed if None not in borrowed.weights]

        def record(passes: Passes) -> None:
            lists = lowered_schedule(self._plan, self._stages, spec.cells, Op.F)
            self._runner.run(passes, computed_only(lists), gradients=gradients)
            if not gradients:
                return
            y, h_n = _results(passes)
            for each in passes:
                each.give_gradients(torch.zeros_like(y).transpose(0, 1), torch.zeros_like(h_n))
            lists = lowered_schedule(self._plan, self._stages, spec.cells, Op.B)
            self._runner.run(passes, computed_only(lists), gradients=True)

        passes = self._graphs.passes(spec, lasting, record, gradients=gradients)
        if self._graphs.why_not is None:
            # Replays know nothing of versions.
            leaves = self._borrowed[0].leaves
            passes.read = [(leaf, leaf._version) for leaf in leaves]
        return passes

    def _borrow(
        self, weights: Sequence[Tensor], asked: Mapping[str, torch.dtype | None]
    ) -> Borrowed:
        """Let the blocks compute with these weights, each on its stage's device.

        They get leaves of their own that share the weights' memory: B differentiates by those, so
        that what hangs on a weight, a hook or a parametrization, is left to the caller's autograd.
        Where autocast asks for another type, the leaves are copies in that type, which are not
        renewed before B of an earlier call has read them.
        """
        kept = [borrowed for borrowed in self._borrowed if borrowed.holds(weights, asked)]
        found = next((borrowed for borrowed in kept if not borrowed.is_read), None)
        if found is None:
            found = self._make_leaves(weights, asked)
        others = [other for other in kept if other is not found]
        self._borrowed = [found, *others][: 1 if self._graphs is None else N_KINDS]
        renew(found.copies)
        return found

    def _make_leaves(
        self, weights: Sequence[Tensor], asked: Mapping[str, torch.dtype | None]
    ) -> Borrowed:
        rest = iter(weights)
        leaves: list[Tensor] = []
        copies: list[tuple[Tensor, Tensor]] = []
        for part, device in self._parts():
            lent = [next(rest) for _ in part._flat_weights_names]
            placed = [_on(device, weight).detach() for weight in lent]
            types = [computing_type(p.dtype, asked[device.type]) for p in placed]
            # The first call may be a prediction in inference mode, and the next a training step.
            with torch.inference_mode(mode=False):
                own = [
                    p.to(dtype).requires_grad_(weight.requires_grad)
                    for p, dtype, weight in zip(placed, types, lent, strict=True)
                ]
            copies += [(o, w) for o, w in zip(own, lent, strict=True) if o.dtype != w.dtype]
            leaves += own
        # What a stage has worked out about its modules goes by the weights that they had.
        modules = [replace(stage.modules) for stage in self._stages]
        self._hand_over(leaves, modules)
        weight_of = dict(zip(leaves, weights, strict=True))
        flatten_all((gru for each in modules for gru in each.grus), weight_of)
        return Borrowed(
            asked,
            [weight if isinstance(weight, nn.Parameter) else None for weight in weights],
            [*map(form_of, weights)],
            leaves,
            copies,
            modules,
        )

    def _use(self, borrowed: Borrowed, *, training: bool) -> None:
        """Let the blocks compute with these leaves, in this mode."""
        if borrowed.modules[0] is not self._stages[0].modules:
            self._hand_over(borrowed.leaves, borrowed.modules)
        if self._stack.training != training:
            self._stack.train(training)
        for gru in (gru for modules in borrowed.modules for gru in modules.grus):
            # Those of joined blocks are no part of the stack.
            gru.training = training

    def _hand_over(self, leaves: Sequence[Tensor], modules: Sequence[StageModules]) -> None:
        """Give the blocks their leaves."""
        rest = iter(leaves)
        for part, _ in self._parts():
            compute_with(part, [next(rest) for _ in part._flat_weights_names])
        for stage, own in zip(self._stages, modules, strict=True):
            stage.modules = own

    def _parts(self) -> Iterator[tuple[nn.GRU, torch.device]]:
        """Each part in the order of the layers, and the device that it belongs on."""
        for stage in self._stages:
            reverse = stage.lane if stage.second_device is None else stage.second_device.lane
            for block in stage.modules.blocks:
                for part in block.gru_parts:
                    yield part, (reverse if part in block.reverse_parts else stage.lane).device


def _results(passes: Sequence[StagePass]) -> tuple[Tensor, Tensor]:
    """Return outputs and last states; each stage has states of its own, on its own device."""
    y = passes[-1].take_outputs()
    return y, torch.cat([each.h_n().to(y.device) for each in passes])


def _on(device: torch.device, weight: Tensor) -> Tensor:
    """Move a parameter, or copy a computed weight, to a device, if it is not there."""
    if not isinstance(weight, nn.Parameter):
        return weight.detach().to(device)
    if weight.device != device:
        # As a module moves: the parameter stays the optimiser's, its gradient goes with it.
        nn.ParameterList([weight]).to(device)
    return weight
