"""Ranks: the processes of a run, how they exchange small objects and how they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store

from gru_parallel.ranks.groups import Groups
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.rendezvous import meet, open_store, store_client
from gru_parallel.ranks.report import RankError, Report
from gru_parallel.ranks.stall_detector import Seen
from gru_parallel.ranks.watch import Watch

MARGIN_S = 10.0
"""By this much the groups' timeout is longer: the watch says more, and should be the first."""

REPORT_WITHIN_S = 3.0

Group = dist.ProcessGroup


def join(launch: Launch, *, timeout_s: float) -> Ranks:
    """Meet the other ranks of the run; from then on all ranks watch each other.

    Args:
        launch: of this process.
        timeout_s: how long a rank may wait for another.

    Returns:
        The ranks; close them at the end, or use them as a context manager.

    Raises:
        UsageError: rank 0 cannot host the store at the address of the launch.
        RankError: some ranks have not registered in time.
    """
    root = open_store(launch, timeout_s)
    rendezvous = meet(PrefixStore("gru_parallel", root), launch, timeout_s)
    prefix = f"gru_parallel/{rendezvous.name}"
    watch_store = PrefixStore(f"{prefix}/watch", store_client(launch, timeout_s))
    watch = Watch(launch, watch_store, timeout_s)
    ranks = Ranks(launch, root, watch, timeout_s, rendezvous.n_before)
    try:
        ranks._connect(PrefixStore(f"{prefix}/groups", root))
    except BaseException as error:
        ranks.fail(error)
        raise
    return ranks


class Ranks:
    """The processes of a run, seen by one of them. `join` makes them.

    All ranks call `gather`, `broadcast`, `sum`, `any`, `all` and `barrier`, in the same order.
    In every method, `what` says in words what this rank waits for.

    Attributes:
        launch: of this process.
        rank: of this process, from 0.
        world_size: number of ranks.
        is_first: whether this is rank 0.
        is_restart: whether the launcher has restarted the ranks after a failure.
    """

    def __init__(
        self, launch: Launch, store: Store, watch: Watch, timeout_s: float, n_before: int
    ) -> None:
        self.launch = launch
        self.rank, self.world_size = launch.rank, launch.world_size
        self.is_first = self.rank == 0
        # A store that rank 0 hosts does not know earlier attempts; a launcher that restarts its
        # ranks because another machine's failed does not count one.
        self.is_restart = n_before > 0 or launch.attempt > 0
        self._store = store
        self._watch = watch
        self._group_timeout = timedelta(seconds=timeout_s + MARGIN_S)
        self._groups = Groups(self._group_timeout)
        self._control: Group | None = None
        self._ended = False

    def _connect(self, store: Store) -> None:
        self._watch.start()
        with self.waiting("all ranks to connect"):
            store.set_timeout(self._group_timeout)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.world_size,
                timeout=self._group_timeout,
            )
            assert dist.group.WORLD is not None
            self.abort_on_failure(dist.group.WORLD)
            everyone = range(self.world_size)
            self._control = self._groups.make(everyone, "gloo")
            self.abort_on_failure(self._control)
            self._watch.join_ring(self._groups.make(everyone, "gloo"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    def gather(self, thing: Any, what: str) -> list[Any]:
        """Return the objects of all ranks, which can be pickled, in their order, on every rank."""
        things: list[Any] = [None] * self.world_size
        with self.waiting(what):
            dist.all_gather_object(things, thing, group=self._control)
        return things

    def broadcast(self, thing: Any, what: str, source: int = 0) -> Any:
        """Return the source's object, which can be pickled, on every rank; no other counts."""
        things = [thing if self.rank == source else None]
        with self.waiting(what):
            dist.broadcast_object_list(things, source, group=self._control)
        return things[0]

    def sum(self, tensor: Tensor, what: str) -> Tensor:
        """Return the sum over all ranks, added in their order: bit for bit the same on all.

        The tensors are small, on the CPU, and of the same shape and dtype on all ranks.
        """
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with self.waiting(what):
            dist.all_gather(parts, tensor.detach().contiguous(), group=self._control)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def any(self, flag: bool, what: str) -> bool:
        """Whether the flag is set on at least one rank."""
        return bool(self.sum(torch.tensor(int(flag)), what) > 0)

    def all(self, flag: bool, what: str) -> bool:
        """Whether the flag is set on every rank."""
        return bool(self.sum(torch.tensor(int(flag)), what) == self.world_size)

    def barrier(self, what: str) -> None:
        """Wait until all ranks have called this."""
        self.all(True, what)

    def new_group(self, members: Sequence[int], backend: str | None = None) -> Group:
        """Make a process group; only its members call this. It is aborted when a rank fails.

        Args:
            members: the ranks in it, in the same order on all.
            backend: "gloo" or "nccl"; None for that of the default group.
        """
        with self.waiting(f"ranks {', '.join(map(str, members))} to make a group"):
            group = self._groups.make(members, backend)
        self.abort_on_failure(group)
        return group

    def abort_on_failure(self, group: Group) -> None:
        """Abort a group when a rank fails, and give it the timeout of this run.

        It was made elsewhere (by a device mesh, say), and this rank is a member.
        """
        dist.distributed_c10d._set_pg_timeout(self._group_timeout, group)
        self._watch.abort_on_failure(group)

    def record(self, what: str) -> None:
        """Record what this rank does now, for the others to see if it fails."""
        self._watch.log.record(what)

    def wait_here(self) -> str | None:
        """Return what this rank waits for, and has for the longest time; None for nothing."""
        wait = self._watch.log.longest_wait()
        return None if wait is None else wait.what

    def others(self) -> dict[int, Seen]:
        """Return what the other ranks were last seen doing; {} unless this one waits for them."""
        return self._watch.others()

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Record, as a sentence, what this rank does inside the context."""
        return self._watch.log.doing(what)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Wait for other ranks inside the context; an error of communication becomes a RankError.

        Raises:
            RankError: another rank failed, ended or stopped answering.
        """
        with self._watch.log.waiting(what):
            if self._watch.failure_known.is_set():
                raise RankError(self._watch.message(self._watch.log.of_thread()))
            try:
                yield
            except RuntimeError as error:
                if type(error) is not RuntimeError and not isinstance(error, dist.DistError):
                    raise
                raise self._rank_error(error) from error

    def explain(self, error: BaseException) -> BaseException:
        """Return the RankError that caused an error of communication, or else the error itself."""
        if isinstance(error, RankError) or not _is_of_communication(error):
            return error
        return self._rank_error(error)

    def fail(self, error: BaseException) -> None:
        """Tell all others that this rank failed, and abort all groups of this process.

        A RankError is not reported: another rank has failed.
        """
        if self._ended:
            return
        self._ended = True
        if not isinstance(error, RankError):
            self._watch.fail(error)
        self._watch.stop()

    def shared_text(self, key: str, make: Callable[[], str]) -> str:
        """Return the text under a key that all ranks and all attempts of one launcher share.

        Where there is none yet, several ranks may make one; the first text counts.
        """
        name = f"gru_parallel/shared/{key}"
        with self.waiting(f"the store's {key}"):
            if self._store.check([name]):
                return self._store.get(name).decode()[1:]
        text = make()
        with self.waiting(f"the store's {key}"):
            # With a mark, because the store takes an empty text for none.
            return self._store.compare_set(name, "", f"={text}").decode()[1:]

    def close(self) -> None:
        """Wait until all ranks have reached the end, and leave.

        Raises:
            RankError: another rank failed, ended or stopped answering before it reached the end.
        """
        if self._ended:
            return
        try:
            self.barrier("all ranks to reach the end")
        except RankError as error:
            self.fail(error)
            raise
        self._ended = True
        self._watch.say_goodbye()
        dist.destroy_process_group()

    def _rank_error(self, error: BaseException) -> RankError:
        activity = self._watch.log.of_thread()
        if not self._watch.failure_known.wait(REPORT_WITHIN_S if self.world_size > 1 else 0):
            self._watch.submit(lambda: Report.cut_off(self.rank, activity, error))
        return RankError(self._watch.message(activity))


def _is_of_communication(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and any(word in str(error) for word in ("gloo", "NCCL"))
