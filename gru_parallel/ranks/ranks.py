"""Ranks: the processes of a run, how they talk about small things and how they end."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, Store

from gru_parallel.ranks.groups import Groups
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.meeting import meet, open_store, store_client
from gru_parallel.ranks.rank_error import RankError
from gru_parallel.ranks.report import Report
from gru_parallel.ranks.watch import Watch

MARGIN_S = 10.0
"""By which the groups' own time is longer: the watch knows more, and should be the first."""

REPORT_WITHIN_S = 3.0
PIECE_BYTES = 1 << 26

Group = dist.ProcessGroup


def join(launch: Launch, *, timeout_s: float) -> Ranks:
    """Meet the other ranks of the run, and watch over each other from then on.

    Args:
        launch: of this process.
        timeout_s: how long a rank may wait for another.

    Returns:
        The ranks; close them at the end, or use them in a `with`.

    Raises:
        UsageError: rank 0 cannot host the store at the address of the launch.
        RankError: some ranks have not come.
    """
    root = open_store(launch, timeout_s)
    meeting = meet(PrefixStore("gru_parallel", root), launch, timeout_s)
    prefix = f"gru_parallel/{meeting.name}"
    own_client = PrefixStore(f"{prefix}/watch", store_client(launch, timeout_s))
    watch = Watch(launch, own_client, timeout_s)
    ranks = Ranks(launch, root, watch, timeout_s=timeout_s, n_before=meeting.n_before)
    try:
        ranks._connect(PrefixStore(f"{prefix}/groups", root))
    except BaseException as error:
        ranks.fail(error)
        raise
    return ranks


class Ranks:
    """The processes of a run, seen by one of them. Made by `join`.

    All ranks call `gather`, `broadcast`, `sum`, `any`, `all` and `barrier`, in the same order.
    `what` says in each what this rank waits for, in words for people.

    Args:
        launch: of this process.
        store: of the run, shared by all attempts.
        watch: over the other ranks; not started.
        timeout_s: how long a rank may wait for another.
        n_before: how often ranks have met at this store before.

    Attributes:
        launch: see above.
        timeout_s: see above.
        is_again: whether the launcher has started the ranks again, after a failure.
    """

    def __init__(
        self, launch: Launch, store: Store, watch: Watch, *, timeout_s: float, n_before: int = 0
    ) -> None:
        self.launch = launch
        self.timeout_s = timeout_s
        # A store of rank 0's own knows of no attempt before; a launcher that starts its ranks again
        # because another machine's do counts none.
        self.is_again = n_before > 0 or launch.attempt > 0
        self._store = store
        self._watch = watch
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
            self.adopt(_default_group())
            everyone = range(self.world_size)
            self._control = self._groups.make(everyone, "gloo")
            self.adopt(self._control)
            self._watch.stand_in_ring(self._groups.make(everyone, "gloo"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
        return self.launch.rank

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.launch.world_size

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def gather(self, thing: Any, what: str) -> list[Any]:
        """Return everyone's, in the order of the ranks, on every rank.

        Args:
            thing: this rank's; it can be pickled.
            what: this rank waits for.
        """
        things: list[Any] = [None] * self.world_size
        with self.waiting(what):
            dist.all_gather_object(things, thing, group=self._control)
        return things

    def broadcast(self, thing: Any, what: str, source: int = 0) -> Any:
        """Return one rank's, on every rank.

        Args:
            thing: the source's, which can be pickled; of other ranks anything.
            what: this rank waits for.
            source: whose.
        """
        things = [thing if self.rank == source else None]
        with self.waiting(what):
            dist.broadcast_object_list(things, source, group=self._control)
        return things[0]

    def sum(self, tensor: Tensor, what: str) -> Tensor:
        """Return the sum over all ranks, in their order: the same bits on all of them.

        Args:
            tensor: this rank's, small and on the CPU, of the same shape and dtype on all ranks.
            what: this rank waits for.
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
        """Wait until all ranks have come here."""
        self.all(True, what)

    def send(self, thing: Any, to: int, what: str) -> None:
        """Send something large to one rank, which receives it at the same time.

        Args:
            thing: it can be pickled.
            to: whom.
            what: this rank waits for.
        """
        written = io.BytesIO()
        pickle.dump(thing, written, protocol=pickle.HIGHEST_PROTOCOL)
        whole = torch.frombuffer(written.getbuffer(), dtype=torch.uint8)
        # In pieces, each with the time of its own, so that size alone never looks like silence.
        for piece in (torch.tensor([whole.numel()]), *whole.split(PIECE_BYTES)):
            with self.waiting(what):
                dist.send(piece, to, group=self._control)

    def receive(self, source: int, what: str) -> Any:
        """Receive what a rank sends to this one.

        Args:
            source: whose.
            what: this rank waits for.
        """
        n_bytes = torch.empty(1, dtype=torch.int64)
        with self.waiting(what):
            dist.recv(n_bytes, source, group=self._control)
        whole = torch.empty(int(n_bytes), dtype=torch.uint8)
        for piece in whole.split(PIECE_BYTES):
            with self.waiting(what):
                dist.recv(piece, source, group=self._control)
        return pickle.loads(whole.numpy().data)

    def new_group(self, members: Sequence[int], backend: str | None = None) -> Group:
        """Make a process group; only its members call this. It ends with the run, however it ends.

        Args:
            members: the ranks in it, in the same order on all.
            backend: "gloo" or "nccl"; None for that of the default group.
        """
        with self.waiting(f"ranks {', '.join(map(str, members))} to make a group"):
            group = self._groups.make(members, backend)
        self.adopt(group)
        return group

    def adopt(self, group: Group) -> None:
        """Have what waits in this group end, too, when a rank fails, and when its time is up.

        Args:
            group: this rank is a member of, made by somebody else: of a device mesh, say.
        """
        dist.distributed_c10d._set_pg_timeout(self._group_timeout, group)
        self._watch.remember(group)

    def note(self, doing: str) -> None:
        """Keep in mind what this rank does now, for the others to see if it fails."""
        self._watch.notes.note(doing)

    def doing(self, what: str) -> AbstractContextManager[None]:
        """Keep in mind that this rank does something in the `with`, as `note` does.

        Args:
            what: it does, as a sentence.
        """
        return self._watch.notes.doing(what)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Wait for another rank inside; an error of communication becomes a RankError.

        Args:
            what: this rank waits for.

        Raises:
            RankError: another rank failed, ended or went silent.
        """
        with self._watch.notes.waiting(what):
            if self._watch.known.is_set():
                raise RankError(self._watch.message(self._watch.notes.of_thread()))
            try:
                yield
            except RuntimeError as error:
                if type(error) is not RuntimeError and not isinstance(error, dist.DistError):
                    raise
                raise self._rank_error(error) from error

    def explain(self, error: BaseException) -> BaseException:
        """Return the RankError that stands behind an error of communication, or the error itself.

        Args:
            error: of whatever this rank did.
        """
        if isinstance(error, RankError) or not _is_of_communication(error):
            return error
        return self._rank_error(error)

    def fail(self, error: BaseException) -> None:
        """Tell all others that this rank fails, and end what waits in this process.

        Args:
            error: why. A RankError is nothing new, and is not reported as this rank's own.
        """
        if self._ended:
            return
        self._ended = True
        if not isinstance(error, RankError):
            self._watch.fail(error)
        self._watch.stop()

    def remember(self, key: str, make: Callable[[], str]) -> str:
        """Return a text that all ranks share, and all attempts of one launcher.

        Args:
            key: of the text.
            make: the text, where there is none yet. Several ranks may make one; the first one
                counts.
        """
        name = f"gru_parallel/remembered/{key}"
        with self.waiting(f"the store's {key}"):
            if self._store.check([name]):
                return self._store.get(name).decode()[1:]
        text = make()
        with self.waiting(f"the store's {key}"):
            # Marked, because an empty text stands for none.
            return self._store.compare_set(name, "", f"={text}").decode()[1:]

    def close(self) -> None:
        """Come to the end together with all others.

        Raises:
            RankError: another rank failed, ended or went silent before it came to the end.
        """
        if self._ended:
            return
        try:
            self.barrier("all ranks to come to the end")
        except RankError as error:
            self.fail(error)
            raise
        self._ended = True
        self._watch.say_goodbye()
        dist.destroy_process_group()

    @property
    def _group_timeout(self) -> timedelta:
        return timedelta(seconds=self.timeout_s + MARGIN_S)

    def _rank_error(self, error: BaseException) -> RankError:
        own = self._watch.notes.of_thread()
        if not self._watch.known.wait(REPORT_WITHIN_S if self.world_size > 1 else 0):
            self._watch.hand_in(lambda: Report.cut_off(self.rank, own.doing(), error))
        return RankError(self._watch.message(own))


def _default_group() -> Group:
    group = dist.group.WORLD
    assert group is not None
    return group


def _is_of_communication(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and any(word in str(error) for word in ("gloo", "NCCL"))
