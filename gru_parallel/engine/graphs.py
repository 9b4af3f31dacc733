"""Graphs: which calls of an engine are recorded, and when one is replayed."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

from gru_parallel.engine.not_recorded import why_not_recorded
from gru_parallel.engine.passes import Passes, Recorded
from gru_parallel.engine.tf32 import uses_tf32
from gru_parallel.errors import UsageError
from gru_parallel.schedule import Action, Cell, Op
from gru_parallel.stage.own_code import foreign_code
from gru_parallel.stage.recorded_pass import RecordedPass
from gru_parallel.stage.recorder import Recorder, free_cached_memory, make_recorder
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage, StageModules
from gru_parallel.stage.stage_pass import StagePass
from gru_parallel.stage.transfer_shapes import TransferShapes, types_out

BY_DEFAULT = frozenset({"cuda"})
"""Types of devices on which calls are recorded unless somebody says otherwise."""

N_EAGER = 3
"""Calls of a kind that run as they are before it is recorded: libraries make their choices, and
allocate what they keep, in their first calls."""

N_KINDS = 4
"""Kinds of calls that are recorded at once: training and evaluation, and the last, smaller batch of
each."""

N_TO_REPLACE = 50
"""Calls of a kind, with no recorded one in between, after which it replaces a recorded one."""


class Graphs:
    """Hands out the passes of calls: new ones, or ones that replay what has been recorded.

    A call is recorded after `N_EAGER` of its kind. What a kind is: sizes, types, what is wanted,
    the modules and the memory of their weights.

    Args:
        wanted: True for whatever runs (on a CPU a replay gains nothing and is for tests); None for
            stages that are all on CUDA devices, and modules of torch and of this library, whose
            forward does nothing that a replay would leave out.
        all_stages: of the plan.
        stages: those that run in this process.
        overlap: whether a call may begin while an earlier one is still needed. Then each has memory
            of its own; otherwise all calls share one pool per stage.

    Attributes:
        why_not: why the last call was not replayed; None if it was.
    """

    def __init__(
        self,
        wanted: bool | None,
        all_stages: Sequence[Stage],
        stages: Sequence[Stage],
        *,
        overlap: bool = False,
    ) -> None:
        self._wanted = wanted
        self._all_stages = all_stages
        self._stages = stages
        self._overlap = overlap
        self._recorders: dict[int, Recorder] = {}
        self._recorded: list[Recorded] = []
        self._n_calls: dict[object, int] = {}
        self._n_given_back = 0
        self._failure: str | None = None
        self._said: set[str] = set()
        self.why_not: str | None = None

    def passes(
        self,
        spec: PassSpec,
        lasting: Sequence[Sequence[StageModules]],
        record: Callable[[Passes], None],
        *,
        gradients: bool,
    ) -> Passes:
        """Return the passes of a call.

        Args:
            spec: of the call.
            lasting: the modules of all stages, as they have been made for this and earlier calls,
                whose weights stay in their memory.
            record: has the workers go through the stages' lists of F, B and W, with passes that
                record them.
            gradients: whether autograd records.
        """
        self.why_not = self._why_not(spec, lasting, gradients=gradients)
        if self.why_not is None:
            recorded = self._find(spec, lasting, record, gradients=gradients)
            if recorded is not None:
                return recorded.lend(spec)
        return Passes(StagePass(stage, spec) for stage in self._stages)

    def forget(self) -> None:
        """Give back the memory of what is recorded."""
        self._recorded.clear()
        self._recorders.clear()
        self._n_calls.clear()
        self._n_given_back = 0

    def _find(
        self,
        spec: PassSpec,
        lasting: Sequence[Sequence[StageModules]],
        record: Callable[[Passes], None],
        *,
        gradients: bool,
    ) -> Recorded | None:
        """Return a recorded call of this kind that nobody needs; record one if it is time to."""
        kind = self._kind(spec, gradients=gradients)
        alive = {id(modules) for modules_of_stages in lasting for modules in modules_of_stages}
        self._recorded = [r for r in self._recorded if {*map(id, r.modules)} <= alive]
        of_kind = (r for r in self._recorded if r.kind == kind and not self._is_needed(r))
        found = next(of_kind, None)
        is_full = len(self._recorded) >= N_KINDS
        if found is None:
            # What has been recorded has been looked at, and its modules are as they were.
            self.why_not = self._foreign(spec)
            if self.why_not is not None:
                return None
            n_calls = self._n_calls[kind] = self._n_calls.pop(kind, 0) + 1
            self.why_not = "calls of this kind have been too few so far"
            if n_calls <= (N_TO_REPLACE if is_full else N_EAGER):
                self._n_calls = dict([*self._n_calls.items()][-2 * N_KINDS :])
                if gradients and not is_full:
                    self._give_back()
                return None
            found = self._record(kind, spec, record)
        elif is_full:
            self._n_calls.clear()
        if found is not None:
            self.why_not = None
            others = [other for other in self._recorded if other is not found]
            self._recorded = [*others, found][-N_KINDS:]
        return found

    def _is_needed(self, recorded: Recorded) -> bool:
        """Whether an earlier call is still to read what it left; calls that take turns are over."""
        return self._overlap and recorded.is_lent

    def _give_back(self) -> None:
        """Give back what nobody needs, before a call whose activations cannot be in a pool.

        They are in memory once then, where it is the first calls of a few kinds. Where sizes never
        settle, all would be recorded again and again, so there is an end to it.
        """
        needed = [recorded for recorded in self._recorded if self._is_needed(recorded)]
        if len(needed) < len(self._recorded) and self._n_given_back < N_KINDS * N_EAGER:
            self._n_given_back += 1
            self._recorded = needed

    def _record(
        self, kind: object, spec: PassSpec, record: Callable[[Passes], None]
    ) -> Recorded | None:
        """Record a call; where that fails, say so once and record none any more."""
        # What is freed during a recording would have to be waited for, and what the allocator keeps
        # from earlier calls is of no use to the pool.
        gc.collect()
        free_cached_memory()
        try:
            passes = self._recording_passes(spec)
            record(Passes(passes))
        except Exception as error:
            if self._wanted:
                error.add_note("while a call was recorded; engine.graphs=false goes without")
                raise
            self._failure = f"recording a call failed: {type(error).__name__}: {error}"
            self.why_not = self._failure
            self.forget()
            self._say(f"The engine goes on without CUDA graphs, which are faster: {self._failure}")
            return None
        for each in passes:
            each.is_recorded = True
        return Recorded(kind, [stage.modules for stage in self._stages], passes, [])

    def _recording_passes(self, spec: PassSpec) -> list[RecordedPass]:
        if not self._recorded:
            # A pool ends with the last of its graphs, and cannot be used again.
            self._recorders.clear()
        rooms = {stage.index: self._rooms(stage, spec) for stage in self._stages}
        passes = []
        for stage in self._stages:
            if self._overlap or stage.index not in self._recorders:
                self._recorders[stage.index] = make_recorder(stage.lane.device)
            each = RecordedPass(stage, spec, self._recorders[stage.index], rooms[stage.index])
            after, before = rooms.get(stage.index + 1, {}), rooms.get(stage.index - 1, {})
            each.send_to = {(op, cell): room for (op, cell), room in after.items() if op is Op.F}
            each.send_to |= {(op, cell): room for (op, cell), room in before.items() if op is Op.B}
            passes.append(each)
        return passes

    def _rooms(self, stage: Stage, spec: PassSpec) -> dict[tuple[Op, Cell], Parcel]:
        """Make room for what a stage gets from its neighbours."""
        modules = [each.modules for each in self._all_stages]
        device = stage.lane.device
        shapes = TransferShapes(modules, spec.cells, types_out(stage.modules, device), device)
        coming = [] if stage.is_first else [(Op.F, Op.RECV_F)]
        if spec.purpose is not Purpose.PREDICT and not stage.is_last:
            coming.append((Op.B, Op.RECV_B))
        # What is made in inference mode could not be written to outside.
        with torch.inference_mode(mode=False):
            return {
                (op, cell): Parcel(cell, *shapes.room(Action(stage.index, receive, cell)))
                for cell in spec.cells.grid()
                for op, receive in coming
            }

    def _kind(self, spec: PassSpec, *, gradients: bool) -> object:
        """Say what the operations of a call and their memory depend on, but for what is copied."""
        windows, cells = spec.windows, spec.cells
        tensors = [windows.x, windows.y, windows.h_0, windows.scale, windows.weight]
        tensors += [stage.carried.get(spec.purpose.value) for stage in self._stages]
        products: Any = torch.backends.cuda.matmul
        types = sorted({"cpu", *(stage.lane.device.type for stage in self._stages)})
        return (
            spec.purpose,
            gradients,
            tuple(map(_form, tensors)),
            (cells.n_micro_batches, cells.n_chunks, spec.segments),
            (spec.loss, spec.output, spec.first_micro_batch),
            (spec.wants_dx, spec.wants_dy),
            tuple((torch.is_autocast_enabled(t), torch.get_autocast_dtype(t)) for t in types),
            (torch.backends.cudnn.enabled, uses_tf32(), products.fp32_precision),
            torch.is_inference_mode_enabled(),
            tuple(id(stage.modules) for stage in self._stages),
            # Libraries have handles of their own in each thread, made at its first calls.
            get_ident() if self._overlap else None,
            tuple(block.training for stage in self._stages for block in stage.modules.blocks),
        )

    def _why_not(
        self, spec: PassSpec, lasting: Sequence[Sequence[StageModules]], *, gradients: bool
    ) -> str | None:
        """Say why a call is not to be replayed, if it is not."""
        if self._failure is not None:
            return self._failure
        return why_not_recorded(
            spec, self._stages, lasting, wanted=bool(self._wanted), gradients=gradients
        )

    def _foreign(self, spec: PassSpec) -> str | None:
        """Say whose code may do what a replay would leave out, if that is not to be recorded."""
        here = [stage.modules for stage in self._stages]
        tops = (module for modules in here for module in modules.all_modules)
        foreign = None if self._wanted else foreign_code(tops, spec.loss)
        if foreign is None:
            return None
        why_not = f"{foreign} may do what a replay would leave out"
        self._say(
            f"The engine goes without CUDA graphs, which are faster: {why_not}. If its forward does"
            " the same at each call, use engine.graphs=true (graphs=True), else false."
        )
        return why_not

    def _say(self, what: str) -> None:
        """Warn, once."""
        if what not in self._said:
            self._said.add(what)
            warnings.warn(what, RuntimeWarning, stacklevel=8)


def graphs_for(
    wanted: bool | None,
    all_stages: Sequence[Stage],
    stages: Sequence[Stage],
    *,
    overlap: bool = False,
) -> Graphs | None:
    """Return the graphs of an engine; None if no call of it is ever to be recorded.

    Args: see `Graphs`; False is for none.

    Raises:
        UsageError: True does not go with a stage that has a second device.
    """
    has_second = any(stage.second_device is not None for stage in stages)
    if wanted and has_second:
        raise UsageError(
            "graphs=true does not go with a second device for the reverse direction, whose thread"
            " works beside its stage; leave graphs at auto, or give each block one device."
        )
    if wanted is None:
        wanted = None if {stage.lane.device.type for stage in stages} <= BY_DEFAULT else False
    if wanted is False or has_second:
        return None
    return Graphs(wanted, all_stages, stages, overlap=overlap)


def _form(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad)
