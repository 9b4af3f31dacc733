"""PipelineEngine: what the engines that run the stages of a plan have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import RLock
from typing import Self

import torch
from torch import Tensor, nn

from gru_parallel.engine.borrowed_model import BorrowedModel
from gru_parallel.engine.engine import steps_that_run
from gru_parallel.engine.graphs import graphs_for
from gru_parallel.engine.ready_loss import gradients_of_inputs, with_gradients
from gru_parallel.engine.stages import lowered_schedule
from gru_parallel.engine.workers import Workers
from gru_parallel.model import StackModel, Start, SumLoss, Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import Action, Op, Schedule, Timeline, computed_only, segments_of
from gru_parallel.stage.cells import Cells, check_windows
from gru_parallel.stage.ends import HeadSection, assemble, blank_predictions
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass


class PipelineEngine:
    """Trains and evaluates a model cut into stages, each with a device and one worker thread.

    Each call runs the model as it is at that moment: modules may be replaced, frozen or
    parametrized in between, as long as the number of blocks is that of the plan. Modules before and
    after the stack that work on each time step of each row alone are cut with it. An encoder that
    may look further (see `looks_beyond`) runs on whole batches, in the caller's thread and on the
    first stage's device, before the pipeline; a head that may look further is refused.

    Opens itself at the first call; `close` ends the threads, and a later call opens it again.
    Usable as a context manager. Python threads that call one engine take turns.

    Args:
        model: encoder, blocks and head; its blocks are the plan's.
        plan: which blocks make which stage on which device, and how a batch is cut and scheduled.
        loss: what `train_step` minimises.
        seed: of the run, for dropout.
        stages: of the plan, in order.
        workers: of those that run in this process.
        own_stages: those that run in this process, in order; None for all.
        n_replicas: pipelines that share a batch.
        graphs: whether calls are recorded and replayed; see `Graphs`.

    Attributes:
        measure: whether to wait for the device after each action. Times are the host's, so on an
            accelerator only a timeline with `measure` shows the work and not its queueing.
        loss_scale: by which the gradients of a step are multiplied while they are computed, and
            divided again in `backward`; a power of two, which is exact. For float16, whose range is
            small: set it to `GradScaler.get_scale()` before each step.
        timeline: what the last call did when; None before the first, and where a call was replayed
            without `measure`.
        n_rows: windows of the last batch trained on.
        peak_cells: for each stage of this process, the most cells whose activations were alive at
            once in the last call.
        carried: see `Engine`.
    """

    carried: dict[str, Tensor]

    def __init__(
        self,
        model: StackModel,
        plan: Plan,
        loss: SumLoss | None,
        *,
        seed: int,
        stages: Sequence[Stage],
        workers: Workers,
        own_stages: Sequence[Stage] | None = None,
        n_replicas: int = 1,
        graphs: bool | None = None,
    ) -> None:
        self.model = model
        self.plan = plan
        self.loss = loss
        self.seed = seed
        self.measure = False
        self.loss_scale = 1.0
        self.timeline: Timeline | None = None
        self.n_rows = 0
        self.peak_cells: tuple[int, ...] = ()
        self._recomputes = plan.grid.recomputes
        self._all_stages = stages
        self._stages = stages if own_stages is None else own_stages
        self._workers = workers
        # Reentrant: a checkpoint around a step runs it again within its backward.
        self._turn = RLock()
        self._lists: tuple[tuple[object, ...], Schedule] | None = None
        self._borrowed = BorrowedModel(plan, stages, self._stages, n_replicas)
        self._graphs = graphs_for(graphs, stages, self._stages)

    def open(self) -> None:
        """Move every stage to its device and start the workers; does nothing when they run."""
        if not self._workers.are_open:
            self._borrowed.place(self.model)
        self._workers.open()

    def close(self) -> None:
        """End the workers; does nothing when they do not run."""
        if self._graphs is not None:
            self._graphs.forget()
        self._workers.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *of_error: object) -> None:
        self.close()

    def train_step(self, windows: Windows, step: int = 0) -> Tensor:
        """Run F, B and W of a batch over all stages.

        Args:
            windows: the batch, with targets.
            step: number of batches trained on before, for dropout.

        Returns:
            The loss, a scalar: the sum over all elements divided by their count. Its gradients are
            computed already; `backward` on it puts them where that of any loss would: into the
            `.grad` of parameters, once, with the hooks on them, and on through whatever `x`, `y`,
            `h_0` and the weights are made of. In a process with some of the stages those of x, y
            and h_0 are the share of its stages.

        Raises:
            UsageError: the batch has fewer time steps than the schedule has chunks, or hooks or
                head do not go with a batch that is cut.
            ShapeError: what goes with x, such as targets, scale or h_0, does not fit the batch.
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        if self.model.view is not None:
            windows = self.model.rows_of(windows)
        y, lengths = windows.y, windows.lengths
        if self.loss is None or y is None:
            missing = f"a loss; give {type(self).__name__} one" if y is not None else "targets"
            raise ValueError(f"train_step needs {missing}.")
        with self._turn:
            weights, spec = self._spec(windows, Purpose.TRAIN)
            encoded = spec.windows.x
            predicted = y
            if self.model.head.every_step and lengths is not None:
                predicted = y[steps_that_run(lengths, y.shape[1]).to(y.device)]
            spec = replace(
                spec,
                windows=replace(windows, x=encoded.detach(), y=y.detach()),
                loss=self.loss,
                n_elements=self._count(self.loss.count(predicted)) or 1,
                loss_scale=self.loss_scale,
                seed=self.seed,
                step=step,
                wants_dx=encoded.requires_grad,
                wants_dy=y.requires_grad,
            )
            passes = self._run(spec)
            sources = {"x": encoded, "y": y, "h_0": windows.h_0}
            gradients = gradients_of_inputs(passes, sources)
            inputs = [source for source in sources.values() if source is not None]
            return with_gradients(
                self._loss_of(passes, spec),
                [*weights, *inputs],
                [*self._gradients(passes), *gradients],
                read=[*(w for w in weights if w.dim() > 1), *inputs],
                scale=spec.loss_scale,
            )

    def predict(self, windows: Windows) -> Tensor:
        """Run F of a batch over all stages, recording nothing for backward.

        Args:
            windows: the batch; blocks that carry their state start from the batch predicted before.

        Returns:
            Predictions for every row in order, batch first, on the last stage's device.

        Raises:
            UsageError: the batch has fewer time steps than the schedule has chunks, or the head
                does not go with a batch that is cut.
            ShapeError: what goes with x, such as lengths, scale or h_0, does not fit the batch.
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        with self._turn, torch.no_grad():
            windows = self.model.rows_of(windows)
            _, spec = self._spec(windows, Purpose.PREDICT)
            passes = self._run(replace(spec, seed=self._seed_of_prediction()))
            head = passes[-1].head if passes else None
            of_model = self.model.head, self.model.output
            if isinstance(head, HeadSection):
                predictions = assemble(head.predictions, spec.cells, *of_model)
            else:
                # They come out in another process.
                here = windows.x[:0].to(self._stages[-1].lane.device)
                predictions = blank_predictions(here, 0, windows.x.shape[1], *of_model)
            return self.model.predictions_of(predictions)

    def first_nonfinite_stage(self, windows: Windows, step: int = 0) -> int | None:
        """Run F of the last training batch again, and see where its outputs stop being finite.

        Args:
            windows: the batch.
            step: number of batches trained on before, for dropout.

        Returns:
            Index of the first stage whose outputs are not all finite; None where all are.
        """
        with self._turn, torch.no_grad():
            _, spec = self._spec(self.model.rows_of(windows), Purpose.CHECK)
            passes = self._run(replace(spec, seed=self.seed, step=step))
            return next((each.stage.index for each in passes if not each.finite), None)

    @property
    def why_not_replayed(self) -> str | None:
        """Why the last call was not replayed from CUDA graphs, as a clause; None if it was."""
        return "graphs are off" if self._graphs is None else self._graphs.why_not

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages that run in this process, in order."""
        return self._stages

    @property
    def running(self) -> dict[int, Action]:
        """What each stage of this process does now, by its index; those that are done left out."""
        return self._workers.running

    def collect(self, predictions: Tensor) -> Tensor:
        """Return the predictions of all rows; see `Engine`."""
        return predictions

    def clip_grad_norm(self, weights: Sequence[Tensor], max_norm: float) -> None:
        """Clip by the norm over all stages; see `Engine`."""
        nn.utils.clip_grad_norm_(weights, max_norm)

    def _seed_of_prediction(self) -> int:
        """Draw what a prediction in training mode drops, another at each call."""
        drops = any(block.training and block.dropout > 0.0 for block in self.model.gru.gru_blocks)
        return int(torch.randint(2**62, (), device="cpu")) if drops else 0

    def _spec(self, windows: Windows, purpose: Purpose) -> tuple[list[Tensor], PassSpec]:
        """Say what to run over a batch, with the inputs of the stack in the place of x.

        Returns:
            weights: of the stages of this process, with the history they have.
            spec: of the pass.
        """
        training = purpose is Purpose.TRAIN
        check_windows(windows, self.model, training=training)
        self.open()
        x, h_0, reset = windows.x, windows.h_0, windows.reset
        if h_0 is not None or reset is not None:
            stack = self.model.gru
            Start(h_0, reset=reset).check(stack.n_states, len(x), stack.hidden_size)
        cells = self._cut(x, windows.lengths)
        weights, encoded = self._borrowed.take(self.model, windows, cells, training=training)
        spec = PassSpec(
            purpose,
            replace(windows, x=encoded),
            cells,
            segments_of(cells.n_chunks, self.plan.grid.truncate),
            output=self.model.output,
            first_micro_batch=self._first_micro_batch,
            recompute=training and self._recomputes,
        )
        return weights, spec

    def _run(self, spec: PassSpec) -> Sequence[StagePass]:
        """Have every worker run its list.

        Returns:
            The pass of each stage of this process, with what it found.

        Raises:
            Exception: the first failure of a stage.
        """
        passes = self._passes(spec)
        lowered, training = self._lowered(spec), spec.purpose is Purpose.TRAIN
        timeline = self._workers.run(passes, lowered, gradients=training, wait=self.measure)
        self._record(passes, timeline)
        return passes

    def _passes(self, spec: PassSpec) -> Sequence[StagePass]:
        """Make the passes of a call, or take what has been recorded of calls like it."""
        lowered, training = self._lowered(spec), spec.purpose is Purpose.TRAIN
        spec = replace(spec, separates_weights=lowered.separates_weights)
        if self._graphs is None:
            return [StagePass(stage, spec) for stage in self._stages]

        def record(passes: Sequence[StagePass]) -> None:
            self._workers.run(passes, computed_only(lowered), gradients=training)

        lasting = self._borrowed.lasting
        return self._graphs.passes(spec, lasting, record, gradients=training)

    @property
    def _first_micro_batch(self) -> int:
        """Number of this process's first micro-batch in the whole batch."""
        return 0

    def _count(self, n_elements: int) -> int:
        """Return what the loss of the whole batch is divided by, from that of the rows here."""
        return n_elements

    def _gradients(self, passes: Sequence[StagePass]) -> list[Tensor | None]:
        """Return the gradient of each weight of this process, over the whole batch."""
        return [gradient for each in passes for gradient in each.weight_gradients()]

    def _loss_of(self, passes: Sequence[StagePass], spec: PassSpec) -> Tensor:
        """Return the loss of the whole batch."""
        head = passes[-1].head
        assert isinstance(head, HeadSection)
        assert head.total is not None
        self.n_rows = self._n_windows(spec)
        return head.total

    def _n_windows(self, spec: PassSpec) -> int:
        """Return how many windows the rows of a batch are."""
        n_rows, view = spec.cells.batch_size, self.model.view
        return n_rows if view is None else view.n_windows(n_rows)

    def _cut(self, x: Tensor, lengths: Tensor | None) -> Cells:
        grid, n_decoding = self.plan.grid, self.model.head.n_decoding
        n_parts = grid.n_micro_batches, grid.n_chunks
        return Cells.cut(x.shape[0], x.shape[1], *n_parts, lengths, n_decoding)

    def _lowered(self, spec: PassSpec) -> Schedule:
        """Return the lists of a pass, which are remembered for as long as no batch is cut anew."""
        barriers = (stage.modules.is_barrier for stage in self._all_stages)
        key = spec.cells.n_micro_batches, spec.cells.n_chunks, spec.purpose, *barriers
        if self._lists is None or self._lists[0] != key:
            only = None if spec.purpose is Purpose.TRAIN else Op.F
            self._lists = key, lowered_schedule(self.plan, self._all_stages, spec.cells, only)
        return self._lists[1]

    def _record(self, passes: Sequence[StagePass], timeline: Timeline | None) -> None:
        """Record what a run of the workers came to."""
        self.timeline = timeline
        self.peak_cells = tuple(each.peak_cells for each in passes)
        for each in passes:
            each.commit()
