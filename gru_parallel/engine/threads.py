"""The threads engine: one process, any number of devices, a worker thread a stage."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from gru_parallel.engine.cells import Cells
from gru_parallel.engine.channel import Aborted, QueueChannel
from gru_parallel.engine.context import CallerContext
from gru_parallel.engine.devices import torch_device
from gru_parallel.engine.gradients import with_gradients
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.lane import make_lane
from gru_parallel.engine.stage import Batch, Stage, StageModules, StageResult
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel, SumLoss
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import (
    Event,
    Schedule,
    Timeline,
    build_schedule,
    forward_only,
    lower,
    validate,
)

Job = Callable[[], None]


class ThreadEngine:
    """Trains and evaluates a model cut into stages, each with a device and a worker thread.

    Opens itself at the first call; `close` ends the threads, and a later call opens it again.
    Usable as a context manager.

    Args:
        model: encoder, blocks and head; its blocks are the plan's.
        plan: which blocks make which stage on which device, and how a batch is cut and scheduled.
        loss: what `train_step` minimises.
        seed: of the run, for dropout.

    Attributes:
        measure: whether to wait for the device after each action. Times are the host's, so on an
            accelerator only a timeline with `measure` shows the work and not its queueing.
        timeline: what the last call did when.
        peak_cells: for each stage, the most cells whose activations were alive at once in the last
            call.
    """

    def __init__(
        self, model: StackModel, plan: Plan, loss: SumLoss | None = None, *, seed: int = 0
    ) -> None:
        self.model = model
        self.plan = plan
        self.loss = loss
        self.seed = seed
        self.measure = False
        self.timeline: Timeline | None = None
        self.peak_cells: tuple[int, ...] = ()
        self._devices = [torch_device(name) for name in plan.devices]
        self._stages = _make_stages(model, plan)
        self._jobs: list[SimpleQueue[Job | None]] = []
        self._threads: list[Thread] = []

    def open(self) -> None:
        """Move every stage to its device and start the workers; does nothing when they run."""
        if self._threads:
            return
        self._intra_op_threads = torch.get_num_threads()
        for stage in self._stages:
            stage.place()
            jobs: SimpleQueue[Job | None] = SimpleQueue()
            name = f"gru_parallel stage {stage.index} ({stage.name})"
            thread = Thread(target=_work, args=(stage.lane.start, jobs), name=name, daemon=True)
            self._jobs.append(jobs)
            self._threads.append(thread)
            thread.start()
        # Workers know only their queue, so an engine that is dropped unclosed still ends them.
        self._finalizer = weakref.finalize(self, _stop, list(self._jobs))

    def close(self) -> None:
        """End the workers; does nothing when they do not run."""
        if not self._threads:
            return
        self._finalizer()
        for thread in self._threads:
            thread.join()
        self._jobs, self._threads = [], []
        # A worker's intra-op count of one has also become MKL's for the whole process.
        torch.set_num_threads(self._intra_op_threads)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def train_step(self, x: Tensor, y: Tensor, *, step: int = 0) -> Tensor:
        """Run F and B of a batch over all stages.

        Args:
            x: windows, shape (batch, time, n_channels).
            y: targets, batch first, as the loss wants them.
            step: number of batches trained on before, for dropout.

        Returns:
            The loss, a scalar: the sum over all elements divided by their count. Its gradients are
            computed already; `backward` on it puts them into the parameters' `.grad`, as for any
            loss.

        Raises:
            UsageError: the batch has fewer time steps than the schedule has chunks.
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        if self.loss is None:
            raise ValueError("train_step needs a loss; give ThreadEngine(model, plan, loss).")
        batch = Batch(self._cut(x), x, y, self.loss, self.seed, step)
        results = self._run(batch, training=True)
        loss = results[-1].loss
        assert loss is not None
        parameters = [p for stage in self._stages for p in stage.modules.parameters()]
        gradients = [gradient for result in results for gradient in result.gradients]
        return with_gradients(loss, parameters, gradients)

    def predict(self, x: Tensor) -> Tensor:
        """Run F of a batch over all stages, recording nothing for backward.

        Args:
            x: windows, shape (batch, time, n_channels).

        Returns:
            Predictions for every row in order, batch first, on the last stage's device.

        Raises:
            UsageError: the batch has fewer time steps than the schedule has chunks.
            Exception: what failed on a stage, with a note that names stage, device, action, cell.
        """
        batch = Batch(self._cut(x), x)
        results = self._run(batch, training=False)
        return _assemble(results[-1], batch.cells)

    def _cut(self, x: Tensor) -> Cells:
        return Cells.cut(x.shape[0], x.shape[1], self.plan.n_micro_batches, self.plan.n_chunks)

    def first_nonfinite_stage(self, x: Tensor, *, step: int = 0) -> int | None:
        """Run F of a batch and return the first stage whose outputs are not all finite.

        Args:
            x: windows, shape (batch, time, n_channels).
            step: number of batches trained on before, for dropout.

        Returns:
            The stage's index; None where all outputs are finite.
        """
        batch = Batch(self._cut(x), x, seed=self.seed, step=step, check_finite=True)
        results = self._run(batch, training=False)
        return next((i for i, result in enumerate(results) if not result.finite), None)

    def _run(self, batch: Batch, *, training: bool) -> list[StageResult]:
        """Have every worker run its list.

        Returns:
            What each stage is left with.

        Raises:
            Exception: the first failure of a stage.
        """
        self.open()
        cells = batch.cells
        schedule = _lowered(
            self.plan.schedule, self.plan.n_stages, cells.n_micro_batches, cells.n_chunks, training
        )
        channel = QueueChannel(len(self._stages))
        context = CallerContext.capture(self._devices)
        finished: SimpleQueue[Outcome] = SimpleQueue()
        start = perf_counter()

        def work(stage: Stage) -> None:
            interpreter = Interpreter(stage, channel, self._devices, wait=self.measure)
            caller_stream = context.streams.get(stage.lane.device)
            try:
                with context.taken_over(gradients=training), stage.lane.step(caller_stream):
                    stage.begin(batch)
                    events = interpreter.run(schedule.actions[stage.index], start)
                finished.put(Outcome(events))
            except BaseException as error:  # noqa: BLE001  # the caller's thread raises it again
                channel.abort()
                finished.put(Outcome(error=error))

        work_of_stages = [partial(work, stage) for stage in self._stages]
        try:
            outcomes = _run_all(work_of_stages, self._jobs, finished, channel)
        finally:
            # After an interrupt, too, or the stages would hold on to the batch.
            results = [stage.end() for stage in self._stages]
        for outcome in outcomes:
            if outcome.error is not None and not isinstance(outcome.error, Aborted):
                raise outcome.error
        events = tuple(event for outcome in outcomes for event in outcome.events)
        self.timeline = Timeline(len(self._stages), events)
        self.peak_cells = tuple(result.peak_cells for result in results)
        return results


@dataclass(frozen=True)
class Outcome:
    """How a stage's step ended: with its events, or with an error."""

    events: Sequence[Event] = ()
    error: BaseException | None = None


def _work(prepare: Job, jobs: SimpleQueue[Job | None]) -> None:
    """Do jobs as they come until there is a None: the life of a worker thread."""
    prepare()
    while (job := jobs.get()) is not None:
        job()
        # A job kept until the next one comes would keep its batch alive.
        del job


def _stop(queues: Sequence[SimpleQueue[Job | None]]) -> None:
    for jobs in queues:
        jobs.put(None)


def _run_all(
    work_of_stages: Sequence[Job],
    queues: Sequence[SimpleQueue[Job | None]],
    finished: SimpleQueue[Outcome],
    channel: QueueChannel,
) -> list[Outcome]:
    """Give every worker its work and wait for all of them; an interrupt of the caller stops them.

    Returns:
        The outcomes in the order in which the stages finished.
    """
    try:
        for jobs, work in zip(queues, work_of_stages, strict=True):
            jobs.put(work)
        return [finished.get() for _ in queues]
    except BaseException:
        channel.abort()
        # The interrupt may have come before every worker had its work, so outcomes cannot be
        # counted: wait until each worker has come to the end of its queue.
        idle: SimpleQueue[None] = SimpleQueue()
        for jobs in queues:
            jobs.put(partial(idle.put, None))
        for _ in queues:
            idle.get()
        raise


@cache
def _lowered(
    name: str, n_stages: int, n_micro_batches: int, n_chunks: int, training: bool
) -> Schedule:
    build = build_schedule if training else forward_only
    schedule = lower(build(name, n_stages, n_micro_batches, n_chunks))
    validate(schedule)
    return schedule


def _make_stages(model: StackModel, plan: Plan) -> list[Stage]:
    """Hand each stage of the plan its modules of the model."""
    blocks = model.gru.gru_blocks
    if len(blocks) != plan.n_blocks:
        raise UsageError(
            f"The plan places {plan.n_blocks} blocks, the model has {len(blocks)};"
            " make the plan for this model."
        )
    stages = []
    for index, placed in enumerate(plan.stages):
        modules = StageModules(
            encoder=model.encoder if index == 0 else None,
            blocks=blocks[placed.blocks.start : placed.blocks.stop],
            head=model.head if index == plan.n_stages - 1 else None,
        )
        lane = make_lane(torch_device(placed.device))
        stages.append(Stage(index, placed.device, modules, lane))
    return stages


def _assemble(result: StageResult, cells: Cells) -> Tensor:
    """Put the cells' predictions together: micro-batches are rows, chunks, if several, steps."""
    rows = []
    for micro_batch in range(cells.n_micro_batches):
        chunks = [p for cell, p in sorted(result.predictions.items()) if cell[0] == micro_batch]
        rows.append(chunks[0] if len(chunks) == 1 else torch.cat(chunks, dim=1))
    return torch.cat(rows)
