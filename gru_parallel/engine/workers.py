"""Workers: one thread per stage, which run the stages' lists of actions together, and queues."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from threading import Thread
from time import perf_counter

import torch

from gru_parallel.engine.channel import Aborted, Channel, HandOver
from gru_parallel.engine.context import CallerContext
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.passes import Passes
from gru_parallel.engine.replay import Replay
from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import Action, Event, Op, Schedule, Timeline, partner
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass

Job = Callable[[], None]


class Workers:
    """The worker threads of some stages, one each. `open` starts them and `close` ends them.

    Args:
        stages: in order.
        devices: of every stage of the pipeline, where `stages` are not all of them.
    """

    def __init__(
        self, stages: Sequence[Stage], devices: Sequence[torch.device] | None = None
    ) -> None:
        self._stages = tuple(stages)
        self._devices = devices or [stage.lane.device for stage in stages]
        self._second_devices = [s.second_device for s in stages if s.second_device is not None]
        self._all_devices = {device for stage in stages for device in stage.devices}
        self._jobs: list[SimpleQueue[Job | None]] = []
        self._threads: list[Thread] = []
        self._process = 0
        self._running: dict[int, Action] = {}
        self._replay: Replay | None = None

    @property
    def running(self) -> dict[int, Action]:
        """What each stage does now, by its index; without those whose list has come to its end."""
        replay = self._replay
        return dict(self._running) if replay is None else replay.running

    @property
    def are_open(self) -> bool:
        """Whether the workers run, in this process."""
        return bool(self._threads) and self._process == os.getpid()

    def open(self) -> None:
        """Start the workers, all or none; does nothing when they run.

        Raises:
            Exception: a worker cannot start, or cannot use its device.
        """
        if self._threads and self._process != os.getpid():
            # A forked child has its parent's queues, and none of its threads.
            self._jobs, self._threads = [], []
        if self._threads:
            return
        self._process = os.getpid()
        self._intra_op_threads = torch.get_num_threads()
        # Threads know only their queue, so Workers that are dropped unclosed still end them.
        self._finalizer = weakref.finalize(self, _stop, self._jobs)
        try:
            self._start()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """End the workers; does nothing when they do not run."""
        if self._threads:
            self._end()

    def _start(self) -> None:
        started: SimpleQueue[BaseException | None] = SimpleQueue()
        for second in self._second_devices:
            second.open()
        for stage in self._stages:
            jobs: SimpleQueue[Job | None] = SimpleQueue()
            self._jobs.append(jobs)
            name = f"gru_parallel stage {stage.index} ({stage.name})"
            arguments = (stage.lane.start, started, jobs)
            thread = Thread(target=_work, args=arguments, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        errors = [error for error in [started.get() for _ in self._threads] if error is not None]
        if errors:
            try:
                raise errors[0]
            finally:
                # Its traceback holds this frame, which must not hold it in turn.
                del errors

    def _end(self) -> None:
        self._finalizer()
        for thread in self._threads:
            thread.join()
        for second in self._second_devices:
            second.close()
        self._jobs, self._threads = [], []
        # A worker's intra-op count of one has also become MKL's for the whole process.
        torch.set_num_threads(self._intra_op_threads)

    def run(
        self,
        passes: Sequence[StagePass],
        lowered: Schedule,
        *,
        gradients: bool,
        wait: bool = False,
        channel: Channel | None = None,
        then: Callable[[StagePass], None] | None = None,
    ) -> Timeline | None:
        """Have every worker run its stage's list.

        Where all that is to be done is to replay what was recorded, and nothing is waited for, one
        worker does it for all, and no times are taken: threads that only queue work would wait for
        each other, and what they do on their way would take longer than that.

        Args:
            passes: of each stage over the batch.
            lowered: what each stage does, sends and receives included.
            gradients: whether autograd records.
            wait: whether to wait for the device after each action.
            channel: what carries tensors from stage to stage; None for queues.
            then: what a worker does as soon as its stage's list has come to its end.

        Returns:
            What ran when; None where one worker replayed it all.

        Raises:
            Exception: the first failure of a stage.
        """
        self.open()
        carrier = channel or QueueChannel(len(self._devices))
        read = [tensor for stage_pass in passes for tensor in stage_pass.reads()]
        context = CallerContext.capture(self._all_devices, read)
        finished: SimpleQueue[Outcome] = SimpleQueue()
        start = perf_counter()
        replay = None
        if isinstance(passes, Passes) and channel is None and not wait:
            replay = passes.replay(lowered, self._devices)
        abort = carrier.abort if replay is None else replay.abort

        def work(passes_here: Sequence[StagePass], run: Callable[[], list[Event] | None]) -> None:
            try:
                context.take_streams()
                with (
                    context.taken_over(gradients=gradients),
                    context.observed(),
                    ExitStack() as steps,
                ):
                    for each in passes_here:
                        steps.enter_context(each.stage.lane.step(context.streams))
                    events = run()
                    if then is not None:
                        for each in passes_here:
                            then(each)
                finished.put(events)
            except BaseException as error:  # noqa: BLE001  # the caller's thread raises it again
                abort(error)
                finished.put(error)
            finally:
                for each in passes_here:
                    self._running.pop(each.stage.index, None)

        work_of_workers: list[Job]
        if replay is not None:
            # A list of its own: a worker that is slow to end must not hold what has been lent.
            work_of_workers = [partial(work, [*passes], replay.run)]
        else:
            work_of_workers = []
            for each in passes:
                interpreter = Interpreter(
                    each, carrier, self._devices, wait=wait, running=self._running
                )
                run = partial(interpreter.run, lowered.actions[each.stage.index], start)
                work_of_workers.append(partial(work, [each], run))
        self._replay = replay
        try:
            jobs = self._jobs[: len(work_of_workers)]
            outcomes = _run_all(work_of_workers, jobs, finished, abort)
        finally:
            self._replay = None
        errors = (outcome for outcome in outcomes if isinstance(outcome, BaseException))
        error = next((error for error in errors if not isinstance(error, Aborted)), None)
        if error is not None:
            try:
                raise error
            finally:
                # Its traceback holds this frame, which must not hold it in turn.
                del error, errors, outcomes
        events = [e for outcome in outcomes if isinstance(outcome, list) for e in outcome]
        return None if replay is not None else Timeline(len(self._devices), tuple(events))


Outcome = list[Event] | BaseException | None
"""How a stage's list ended: with its events, or with an error; None for a replay."""


class QueueChannel:
    """First in, first out queues between the stages of one process, for the length of one step."""

    def __init__(self, n_stages: int) -> None:
        self._n_stages = n_stages
        self._queues: dict[tuple[Op, int], SimpleQueue[tuple[Action, HandOver | None] | None]] = {
            (op, stage): SimpleQueue() for op in (Op.RECV_F, Op.RECV_B) for stage in range(n_stages)
        }
        self._aborted = False

    def send(self, action: Action, packets: HandOver | None) -> None:
        """Hand over the packets of a SEND action; None where only the order matters."""
        wanted = partner(action, self._n_stages)
        self._queues[wanted.op, wanted.stage].put((wanted, packets))

    def receive(self, action: Action) -> HandOver | None:
        """Wait for the packets of a RECV action.

        Raises:
            Aborted: `abort` was called.
            ScheduleError: another cell's packets arrived.
        """
        item = self._queues[action.op, action.stage].get()
        if item is None:
            raise Aborted
        arrived, packets = item
        if arrived != action:
            raise ScheduleError(
                f"{action} was to be received, {arrived} arrived:"
                " sends and receives differ in order."
            )
        return packets

    def begin(self, action: Action) -> None:
        """Stop a stage that waits for nothing; see `Channel`."""
        del action
        if self._aborted:
            raise Aborted

    def abort(self, error: BaseException | None = None) -> None:
        """Wake every waiting stage; see `Channel`."""
        del error
        self._aborted = True
        for queue in self._queues.values():
            queue.put(None)


def _work(
    prepare: Job, started: SimpleQueue[BaseException | None], jobs: SimpleQueue[Job | None]
) -> None:
    """Do jobs as they come until there is a None: the life of a worker thread."""
    try:
        prepare()
    except BaseException as error:  # noqa: BLE001  # the caller's thread raises it again
        started.put(error)
        return
    started.put(None)
    while (job := jobs.get()) is not None:
        job()
        # A job kept until the next one comes would keep its batch alive.
        del job


def _stop(queues: Sequence[SimpleQueue[Job | None]]) -> None:
    for jobs in queues:
        jobs.put(None)


def _run_all(
    work_of_workers: Sequence[Job],
    queues: Sequence[SimpleQueue[Job | None]],
    finished: SimpleQueue[Outcome],
    abort: Callable[[], None],
) -> list[Outcome]:
    """Give every worker its work and wait for all of them; an interrupt of the caller stops them.

    Returns:
        The outcomes in the order in which the stages finished.
    """
    try:
        for jobs, work in zip(queues, work_of_workers, strict=True):
            jobs.put(work)
        return [finished.get() for _ in queues]
    except BaseException:
        abort()
        # The interrupt may have come before every worker had its work, so outcomes cannot be
        # counted: wait until each worker has come to the end of its queue.
        idle: SimpleQueue[None] = SimpleQueue()
        for jobs in queues:
            jobs.put(partial(idle.put, None))
        for _ in queues:
            idle.get()
        raise
