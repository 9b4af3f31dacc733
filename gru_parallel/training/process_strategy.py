"""The Lightning strategy of one rank of many, each of which runs some stages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import LBFGS, Optimizer
from torch.utils._pytree import tree_map_only
from torchmetrics import Metric

from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.placement import Plan
from gru_parallel.planning import RankMap
from gru_parallel.processes.process_engine import ProcessEngine
from gru_parallel.processes.world import device_of_rank
from gru_parallel.ranks import Ranks
from gru_parallel.run_folder import part_of
from gru_parallel.training.checkpoint_folder import write_folder
from gru_parallel.training.in_place import make_way
from gru_parallel.training.metrics import gather_states
from gru_parallel.training.module import SeriesModule
from gru_parallel.training.optimizer_state import Keys
from gru_parallel.training.rank_checks import check_for_ranks
from gru_parallel.training.strategy import PipelineStrategy, copied, number_process
from gru_parallel.training.whole_state import load_part, names_of_all, whole_optimizer_state

Thing = TypeVar("Thing")


class ProcessStrategy(PipelineStrategy):
    """Runs a `SeriesModule` over the ranks of a run: replicas of a plan, each rank with its stages.

    To Lightning, every rank is a single device, and the strategy decides what ranks must agree on.
    Every rank keeps its weights and their optimiser states, and the ranks of the first replica
    write checkpoints together, each its part of a folder; see `write_folder`.

    Args:
        plan: which blocks make which stage; each of its devices stands for one rank.
        ranks: of the run.
        data_parallel: number of replicas.
        rows: of a batch of all replicas, those that come here; None for all.
        graphs: see `PipelineStrategy`.
        saves_in_background: see `PipelineStrategy`.
    """

    strategy_name = "gru_parallel_processes"
    is_one_of_many = True

    def __init__(
        self,
        plan: Plan,
        ranks: Ranks,
        *,
        data_parallel: int = 1,
        rows: slice | None = None,
        graphs: bool | None = None,
        saves_in_background: bool = False,
    ) -> None:
        super().__init__(
            plan,
            device_of_rank(plan, ranks.launch),
            graphs=graphs,
            saves_in_background=saves_in_background,
        )
        self.ranks = ranks
        self.global_rank = ranks.rank
        number_process(self.global_rank)
        self.local_rank = ranks.launch.local_rank
        self._data_parallel = data_parallel
        self._rows = rows
        self._kept_engine: ProcessEngine | None = None
        rank_map = RankMap(plan, data_parallel, ranks.world_size)
        # The ranks of a replica together have the whole state; those of the first one save it.
        self._members = rank_map.ranks(0)
        self._replica = rank_map.replica(ranks.rank)
        self._saving_group: dist.ProcessGroup | None = None

    def make_engine(self, module: SeriesModule) -> PipelineEngine:
        """Create the engine once: its process groups serve training, test and prediction."""
        if self._kept_engine is None or self._kept_engine.model is not module.model:
            self._kept_engine = ProcessEngine(
                module.model,
                self.plan,
                module.loss,
                ranks=self.ranks,
                data_parallel=self._data_parallel,
                rows=self._rows,
                seed=module.seed,
                graphs=self.graphs,
            )
            self._kept_engine.free_other_stages()
        return self._kept_engine

    def model_to_device(self) -> None:
        """Put this rank's stages on its device, and have the metrics sum up over all ranks."""
        super().model_to_device()
        for metric in self.module.modules():
            if isinstance(metric, Metric):
                # By itself it would wait without anyone knowing that it does, and for whom.
                gather_states(metric, self._gather_state)

    @property
    def is_global_zero(self) -> bool:
        """Whether this rank writes, logs and prints for all."""
        return self.ranks.is_first

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait until all ranks have called this."""
        self.ranks.barrier(f"all ranks to reach {args[0] if args else 'the same point'}")

    def broadcast(self, obj: Thing, src: int = 0) -> Thing:
        """Return one rank's object on every rank."""
        thing: Thing = self.ranks.broadcast(obj, f"what rank {src} says", src)
        return thing

    def all_gather(self, tensor: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:
        """Return every rank's tensor, stacked in the order of the ranks."""
        everyone = self.ranks.gather(tensor.detach().cpu(), "the tensors of all ranks")
        return torch.stack(everyone).to(tensor.device)

    def gather_objects(self, thing: Thing, what: str) -> list[Thing]:
        """Return what every rank has; see `PipelineStrategy`."""
        return self.ranks.gather(thing, what)

    def reduce(self, tensor: Any, group: Any = None, reduce_op: Any = "mean") -> Any:
        """Return the mean, or with "sum" the sum, of every rank's tensor."""
        if not isinstance(tensor, Tensor):
            return tensor
        total = self.ranks.sum(tensor.detach().cpu(), "the tensors of all ranks")
        if str(reduce_op).lower().endswith("sum"):
            return total.to(tensor.device)
        return (total / self.ranks.world_size).to(tensor.device)

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Return the decision of all ranks, or of any of them, on every rank."""
        agree = self.ranks.all if all else self.ranks.any
        return agree(decision, "the decision of all ranks")

    def setup_environment(self) -> None:
        """Prepare the device.

        Raises:
            UsageError: ranks cannot have a callback, or a setting of the Trainer.
        """
        # Only now are the module's callbacks there, too.
        assert self.lightning_module is not None
        trainer = self.lightning_module.trainer
        check_for_ranks(trainer, trains=trainer.state.fn == TrainerFn.FITTING)
        super().setup_environment()

    def setup_optimizers(self, trainer: Any) -> None:
        """Create the optimiser of this rank's weights.

        Raises:
            UsageError: it needs all weights at once.
        """
        super().setup_optimizers(trainer)
        if any(isinstance(optimizer, LBFGS) for optimizer in self.optimizers):
            raise UsageError(
                "optimizer._target_=torch.optim.LBFGS looks at all weights at once, but with"
                " engine=processes each rank has its own; choose another, or engine=threads."
            )

    def process_dataloader(self, dataloader: object) -> object:
        """Check that a loader fetches the rows of this rank's replica, where it says which.

        Raises:
            UsageError: it fetches others, which replicas would compute twice or not at all.
        """
        share = getattr(getattr(dataloader, "dataset", None), "share", None)
        fetched = getattr(share, "index", None), getattr(share, "n_shares", None)
        own = self._replica, self._data_parallel
        # Data sets of others may have a `share` that is something else.
        if None not in fetched and fetched != own:
            raise UsageError(
                f"Rank {self.global_rank} is of replica {own[0]} of {own[1]}, and its data fetches"
                f" {share} of each batch; make the data with share=Share{own}, of"
                " gru_parallel.data."
            )
        return dataloader

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state by name over all weights; that of other ranks is on the meta device."""
        here = super().optimizer_state(optimizer)
        return whole_optimizer_state(here, self.module, self.ranks)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint together with the other ranks, in the background if asked to.

        Raises:
            OSError: a rank cannot write, or could not write the one before.
            TypeError: there are storage options.
        """
        if storage_options is not None:
            raise TypeError("A checkpoint of ranks is a folder, and has no storage options.")
        self.saving.wait()
        target = Path(filepath)
        with self.ranks.doing(f"it wrote {target}"):
            if self.is_global_zero:
                make_way(target)
            self.ranks.barrier("rank 0 to make way for a checkpoint")
            if self.ranks.rank in self._members:
                checkpoint |= self.kept_in_checkpoint(target)
                if self.saving.is_used:
                    # What is trained on changes before it is written.
                    checkpoint = tree_map_only(Tensor, copied, checkpoint)
                group = self._group_that_saves()
                self.saving.run(partial(self._write, checkpoint, target, group))

    def _write(self, checkpoint: dict[str, Any], target: Path, group: dist.ProcessGroup) -> None:
        with self.ranks.waiting("the ranks of the first replica to write a checkpoint"):
            write_folder(checkpoint, part_of(target), target, group)

    def _group_that_saves(self) -> dist.ProcessGroup:
        """Create the group once; nothing else uses it, so that it serves the background."""
        if self._saving_group is None:
            self._saving_group = self.ranks.new_group(self._members, "gloo")
        return self._saving_group

    def load_checkpoint(
        self, checkpoint_path: _PATH, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Open a checkpoint, of which this rank reads its part, once all ranks have written it."""
        self.saving.wait()
        self.barrier("the end of what is written in the background")
        return super().load_checkpoint(checkpoint_path, weights_only)

    def load_weights(self, weights: Mapping[str, Any], strict: bool) -> None:
        """Load this rank's weights."""
        load_part(self.module, weights, strict)

    def numbered_names(self, optimizer: Optimizer) -> Keys:
        """Return the names of all ranks' weights; all ranks call this together."""
        return names_of_all(self.names_in(optimizer), self.module, self.ranks)

    def on_exception(self, exception: BaseException) -> None:
        """Tell the other ranks that this one failed, unless all end in the same way."""
        if not isinstance(exception, EndOfRunError):
            self.ranks.fail(exception)
        super().on_exception(exception)

    def teardown(self) -> None:
        """End the workers; the weights stay where they are, for the next use."""
        self.saving.wait()
        if self.engine is not None:
            self.engine.close()
            self.engine = None
        self.precision_plugin.teardown()
        if self.accelerator is not None:
            self.accelerator.teardown()
        self.checkpoint_io.teardown()

    def _gather_state(self, state: Tensor, group: Any = None) -> list[Tensor]:
        """Return every rank's state of a metric."""
        return list(self.all_gather(state))
