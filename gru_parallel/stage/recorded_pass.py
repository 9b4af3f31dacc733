"""RecordedPass: a pass that is recorded once, cell by cell, and replayed for later batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gru_parallel.model import Start, Windows
from gru_parallel.model.dropout import Mask, Masks
from gru_parallel.schedule import Cell, Op
from gru_parallel.stage.cells import over_the_batch
from gru_parallel.stage.ends import OutputSection
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.loss_numbers import LossNumbers
from gru_parallel.stage.recorder import Recorder, Recording
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass, start_of

Key = tuple[Op, Cell]


class RecordedPass(StagePass):
    """Runs F, B and W of a stage on tensors that stay where they are, so that they can be recorded.

    What comes in is copied into these tensors. What the sections of the pass have found after they
    were recorded, gradients included, is in the memory that each replay writes anew.

    Before `is_recorded` is set, F, B and W record, in the order of the stage's list, and do
    nothing; after that they replay.

    Args:
        stage: whose blocks run.
        spec: of a batch like those to come.
        recorder: of the stage.
        rooms: by op and cell, where what comes from other stages is to be put.

    Attributes:
        is_recorded: whether all is recorded.
        send_to: by op (F or B) and cell, the room of the stage that gets the result, on its device;
            what has none there is copied, for somebody who may read it late.
    """

    def __init__(
        self, stage: Stage, spec: PassSpec, recorder: Recorder, rooms: Mapping[Key, Parcel]
    ) -> None:
        self.is_recorded = False
        self._recorder = recorder
        self._rooms = rooms
        self._masks: Masks = {}
        self._recordings: dict[Key, tuple[Recording, list[Mask], list[Parcel]]] = {}
        self._results: dict[Key, Parcel] = {}
        self._to_copy: list[tuple[Tensor, Tensor | float | None]] = []
        self._seed_and_step = spec.seed, spec.step
        self._start_here = start_of(stage, spec)
        has_loss = stage.is_last and spec.loss is not None
        self._numbers = LossNumbers(stage.lane.device) if has_loss else None
        windows = self._windows_here(stage, spec.windows)
        spec = replace(spec, windows=windows, masks=self._masks, numbers=self._numbers)
        super().__init__(stage, spec)

    def renew(self, spec: PassSpec) -> None:
        """Get ready for the next batch, of which F of the first cell takes its copies."""
        here, windows, start = self.spec.windows, spec.windows, start_of(self.stage, spec)
        self._seed_and_step = spec.seed, spec.step
        pairs = [(here.h_0, start.h_0), (self._start_here.carried, start.carried)]
        pairs += [(here.x, windows.x)] if self.stage.is_first else []
        of_end = [
            (here.y, windows.y),
            (here.scale, windows.scale),
            (here.weight, windows.weight),
        ]
        pairs += of_end if self.stage.is_last else []
        self._to_copy = [(r, t.detach()) for r, t in pairs if r is not None and t is not None]
        if self._numbers is not None:
            self._to_copy += [
                (self._numbers.n_elements, float(spec.n_elements)),
                (self._numbers.scale, spec.loss_scale),
            ]

    def forward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Record F of a cell, or do it again; see `StagePass`."""
        return self._play(Op.F, cell, received, super().forward)

    def backward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Record B of a cell, or do it again; see `StagePass`."""
        return self._play(Op.B, cell, received, super().backward)

    def weights(self, cell: Cell) -> None:
        """Record W of a cell, or do it again; see `StagePass`."""
        work_out = super().weights

        def weights(cell: Cell, received: Parcel | None) -> list[Parcel]:
            assert received is None
            work_out(cell)
            return []

        self._play(Op.W, cell, None, weights)

    def weight_gradients(self) -> list[Tensor | None]:
        """Return a copy of the gradient of each weight of the stage; see `StagePass`."""
        found = super().weight_gradients()
        there = [gradient for gradient in found if gradient is not None]
        copies = [torch.empty_like(gradient) for gradient in there]
        if there:
            torch._foreach_copy_(copies, there)
        rest = iter(copies)
        return [None if gradient is None else next(rest) for gradient in found]

    def give_gradients(self, dy: Tensor | None, dh_n: Tensor | None) -> None:
        """Get ready for B; see `StagePass`. Where there is no gradient, B reads zeros."""
        if not self.is_recorded:
            super().give_gradients(dy, dh_n)
            return
        if isinstance(self.head, OutputSection):
            found = {} if dy is None else self._cells_of(dy)
            self._to_copy += [
                (room, found.get(cell)) for cell, room in self.head.gradients_of_outputs.items()
            ]
        for states, group in zip(self.states, self.stage.modules.groups, strict=True):
            of_states = {} if dh_n is None else self._states_of(dh_n, group)
            for m, rooms in states.dh_n.items():
                pairs = zip(rooms, of_states.get(m, [None for _ in rooms]), strict=True)
                self._to_copy += [(room, dh) for room, dh in pairs if room is not None]

    def reads(self) -> list[Tensor]:
        """List what the next actions copy; see `StagePass`."""
        return [source for _, source in self._to_copy if isinstance(source, Tensor)]

    def take_outputs(self) -> Tensor:
        """Copy the outputs of the last stage; see `StagePass`."""
        assert isinstance(self.head, OutputSection)
        return over_the_batch(self.head.outputs, self.spec.cells)

    def calls(self, op: Op, cell: Cell) -> list[Callable[[], object]]:
        """Return what does F, B or W of a cell again, once what it reads is in its place."""
        recording, masks, _ = self._recordings[op, cell]
        return [*([partial(self._draw, masks)] if masks else []), recording.replay]

    def handed_over(self, op: Op, cell: Cell) -> list[tuple[Tensor, Tensor]]:
        """Return what F or B of a cell gives to a neighbour, each with its room there."""
        result = self._results.get((op, cell))
        room = self.send_to.get((op, cell))
        if result is None or room is None:
            return []
        pairs = (result.state, room.state), (result.tensor, room.tensor)
        return [(t.detach(), r) for t, r in pairs if t is not None and r is not None]

    def copy_in(self) -> None:
        """Copy what has come of a batch, or of its gradients, to where it is read."""
        for room, source in self._to_copy:
            if not isinstance(source, Tensor):
                room.data.fill_(source or 0.0)
            elif source is not room:
                self.stage.lane.take(room, source)
        self._to_copy = []

    def _start(self) -> Start:
        return self._start_here

    def _play(
        self,
        op: Op,
        cell: Cell,
        received: Parcel | None,
        work: Callable[[Cell, Parcel | None], list[Parcel]],
    ) -> list[Parcel]:
        if not self.is_recorded:
            self._record((op, cell), work)
            return []
        self._take((op, cell), received)
        for call in self.calls(op, cell):
            call()
        _, _, results = self._recordings[op, cell]
        return [self._given_out(op, result) for result in results]

    def _record(self, key: Key, work: Callable[[Cell, Parcel | None], list[Parcel]]) -> None:
        results: list[Parcel] = []
        drawn_before = len(self._masks)
        recording = self._recorder.record(
            lambda: results.extend(work(key[1], self._rooms.get(key)))
        )
        self._recordings[key] = recording, [*self._masks.values()][drawn_before:], results
        self._results |= {(key[0], result.cell): result for result in results}

    def _take(self, key: Key, received: Parcel | None) -> None:
        """Copy what has come to where it is read."""
        own = self._rooms.get(key)
        if own is not None and received is not None:
            pairs = ((own.tensor, received.tensor), (own.state, received.state))
            self._to_copy += [(room, came) for room, came in pairs if room is not None]
        self.copy_in()

    def _draw(self, masks: Sequence[Mask]) -> None:
        for mask in masks:
            mask.draw(*self._seed_and_step)

    def _given_out(self, op: Op, result: Parcel) -> Parcel:
        if (op, result.cell) in self.send_to:
            return result
        copied = (None if t is None else t.clone() for t in (result.tensor, result.state))
        return Parcel(result.cell, *copied)

    def _windows_here(self, stage: Stage, windows: Windows) -> Windows:
        """Make room for what the stage reads of a batch."""
        start, lane = self._start_here, stage.lane
        self._start_here = Start(
            *(t if t is None else _room(t, lane) for t in (start.h_0, start.carried))
        )
        x = windows.x if stage.is_first else windows.x[:0]
        of_end = (windows.y, windows.scale, windows.weight) if stage.is_last else (None,) * 3
        y, scale, weight = (t if t is None else _room(t, lane) for t in of_end)
        return Windows(_room(x, lane), y, h_0=self._start_here.h_0, scale=scale, weight=weight)


def _room(tensor: Tensor, lane: Lane) -> Tensor:
    """Make room for tensors like this one, on a stage's device: zeros, which are a class, too."""
    # A tensor that is made in inference mode could not be written to outside.
    with torch.inference_mode(mode=False):
        return torch.zeros_like(
            tensor,
            device=lane.device,
            requires_grad=tensor.requires_grad,
            memory_format=torch.contiguous_format,
        )
