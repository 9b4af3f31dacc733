"""The processes engine: one rank per stage over `torch.distributed`, with replicas."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.stages import lowered_schedule, make_stages, modules_of_stages
from gru_parallel.engine.workers import Workers
from gru_parallel.model import StackModel, SumLoss, Windows
from gru_parallel.model.ragged import padded_to
from gru_parallel.placement.plan import Plan
from gru_parallel.planning import RankMap
from gru_parallel.processes.outbox import Outbox
from gru_parallel.processes.peer_groups import PeerGroups
from gru_parallel.processes.process_channel import ProcessChannel
from gru_parallel.processes.replicas import Replicas
from gru_parallel.processes.world import check_shared_weights, device_of_rank
from gru_parallel.ranks import Ranks
from gru_parallel.schedule import Timeline
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage_pass import StagePass
from gru_parallel.stage.transfer_shapes import TransferShapes, types_out


class ProcessEngine(PipelineEngine):
    """Runs the stages of this rank, together with the engines of all other ranks.

    Ranks form a mesh: "dp" replicas of the pipeline, each of "pp" ranks, one for each device of the
    plan. All ranks make the same calls, each with the rows of its replica. A batch is divided among
    the replicas, and some may have no rows of it.

    `predict` returns predictions on the rank of the last stage: those of its replica's rows. On
    other ranks it returns those of no rows; `collect` gathers them all. Weights of stages on other
    ranks are never read, and may be on the meta device.

    Args:
        model: encoder, blocks and head; its blocks are the plan's.
        plan: which blocks make which stage; each of its devices stands for one rank.
        loss: what `train_step` minimises.
        ranks: of the run; all of them create their engine together.
        data_parallel: number of replicas.
        rows: windows of a batch of all replicas, those that come here, for states that are carried
            from batch to batch; None for all.
        seed: of the run, for dropout.
        graphs: whether calls are recorded and replayed; see `Graphs`.

    Attributes:
        mesh: of the ranks, its dimensions "dp" and "pp".
        device: that this rank computes on.

    Raises:
        UsageError: plan and replicas need another number of ranks, or devices that are not there.
    """

    def __init__(
        self,
        model: StackModel,
        plan: Plan,
        loss: SumLoss | None = None,
        *,
        ranks: Ranks,
        data_parallel: int = 1,
        rows: slice | None = None,
        seed: int = 0,
        graphs: bool | None = None,
    ) -> None:
        rank_map = RankMap(plan, data_parallel, ranks.world_size)
        self._replica = rank_map.replica(ranks.rank)
        self.device = device_of_rank(plan, ranks.launch)
        modules = modules_of_stages(model, plan)
        check_shared_weights(model, modules, rank_map.rank_of_each_stage(0))
        all_stages = make_stages(plan, modules, self.device)
        stages = [all_stages[index] for index in rank_map.stages(ranks.rank)]
        workers = Workers(stages, [self.device] * plan.n_stages)
        super().__init__(
            model,
            plan,
            loss,
            seed=seed,
            stages=all_stages,
            workers=workers,
            own_stages=stages,
            n_replicas=data_parallel,
            graphs=graphs,
        )
        self._ranks = ranks
        self._windows = slice(None) if rows is None else rows
        shape = (data_parallel, rank_map.ranks_per_replica)
        self.mesh = init_device_mesh(self.device.type, shape, mesh_dim_names=("dp", "pp"))
        self._replica_group = self.mesh.get_group("dp") if data_parallel > 1 else None
        if self._replica_group is not None:
            ranks.abort_on_failure(self._replica_group)
        self._replicas = Replicas(ranks, self._replica_group, stages)
        sizes = plan.grid.n_micro_batches, plan.grid.n_chunks
        smallest = Cells.cut(*sizes, *sizes)
        rank_of_stage = rank_map.rank_of_each_stage(self._replica)
        backend = "nccl" if self.device.type == "cuda" else "gloo"
        lowered = lowered_schedule(plan, all_stages, smallest)
        self._peer_groups = PeerGroups(ranks, rank_of_stage, lowered, backend)
        self._peer_groups.connect(ranks, self.device)
        self._replicas.connect(self.device)
        self._outbox = Outbox(self.device)

    def close(self) -> None:
        """End the workers; does nothing when they do not run."""
        super().close()
        self._outbox.close()

    def train_step(self, windows: Windows, step: int = 0) -> Tensor:
        """See `PipelineEngine`; on a rank that trains nothing `backward` has nothing to give out.

        If others do not either, it is refused, as that of any loss without a history.
        """
        loss = super().train_step(windows, step)
        if not loss.requires_grad and torch.is_grad_enabled():
            loss.requires_grad_(any(weight.requires_grad for weight in self.model.parameters()))
        return loss

    @property
    def carried(self) -> dict[str, Tensor]:
        """See `Engine`; of all stages and replicas, on the CPU. All ranks ask for it together."""
        here = {
            stage.index: {use: states.cpu() for use, states in stage.carried.items()}
            for stage in self._stages
        }
        if not self.model.gru.carries:
            return {}
        everywhere = self._ranks.gather((self._replica, here), "the carried states of all ranks")
        uses = self._stages[0].carried
        by_replica: list[dict[int, dict[str, Tensor]]] = [{} for _ in range(self.mesh.size(0))]
        for replica, of_rank in everywhere:
            by_replica[replica] |= of_rank
        return {
            use: torch.cat(
                [
                    torch.cat([stages[index][use] for index in range(self.plan.n_stages)])
                    for stages in by_replica
                ],
                dim=1,
            )
            for use in uses
        }

    @carried.setter
    def carried(self, states: dict[str, Tensor]) -> None:
        view = self.model.view
        rows = self._windows if view is None else view.rows_of_windows(self._windows)
        for stage in self._stages:
            stage.carry({use: whole[:, rows] for use, whole in states.items()})

    def first_nonfinite_stage(self, windows: Windows, step: int = 0) -> int | None:
        """See `PipelineEngine`; over all ranks and replicas."""
        stage_here = super().first_nonfinite_stage(windows, step)
        everywhere = self._ranks.gather(stage_here, "where outputs stop being finite")
        return min((stage for stage in everywhere if stage is not None), default=None)

    def collect(self, predictions: Tensor) -> Tensor:
        """Return the predictions of all ranks: every row, in order, on every rank."""
        gathered = self._ranks.gather(predictions.cpu(), "the predictions of all ranks")
        # The predictions of no rows do not have the type of autocast.
        pieces = [piece for piece in gathered if len(piece) > 0] or gathered[:1]
        if self.model.head.every_step:
            # Each replica's are as long as the longest of its own rows.
            n_steps = max(piece.shape[1] for piece in pieces)
            pieces = [padded_to(piece, n_steps) for piece in pieces]
        return torch.cat(pieces).to(self.device)

    def clip_grad_norm(self, weights: Sequence[Tensor], max_norm: float) -> None:
        """Clip by the norm over all ranks, added up in the order of one process; see `Engine`."""
        order: dict[Tensor, int] = {w: index for index, w in enumerate(self.model.parameters())}
        norms_here = {
            order[weight]: torch.linalg.vector_norm(weight.grad).cpu()
            for weight in weights
            if weight.grad is not None
        }
        # Replicas have the same gradients, and so the same norms.
        norms: dict[int, Tensor] = {}
        for of_rank in self._ranks.gather(norms_here, "the norms of all ranks' gradients"):
            norms |= of_rank
        if not norms:
            return
        total = torch.linalg.vector_norm(torch.stack([norms[index] for index in sorted(norms)]))
        nn.utils.clip_grads_with_norm_(weights, max_norm, total.to(self.device))

    def free_other_stages(self) -> None:
        """Move the weights of stages on other ranks to the meta device."""
        here = {stage.index for stage in self._stages}
        for index, modules in enumerate(modules_of_stages(self.model, self.plan)):
            if index not in here:
                for module in modules.all_modules:
                    module.to("meta")

    def _run(self, spec: PassSpec) -> Sequence[StagePass]:
        if self.measure:
            # So that all ranks measure times from the same moment.
            self._ranks.barrier("all ranks to begin a step that is timed")
        passes = self._passes(spec) if spec.cells.batch_size > 0 else []
        timeline = None
        if passes:
            timeline = self._run_passes(passes, spec)
        else:
            self._skip(spec)
        if self.measure:
            timeline = self._join(timeline)
        self._record(passes, timeline)
        return passes

    def _run_passes(self, passes: Sequence[StagePass], spec: PassSpec) -> Timeline | None:
        lowered = self._lowered(spec)
        shapes = TransferShapes(
            [stage.modules for stage in self._all_stages],
            spec.cells,
            types_out(self._stages[0].modules, self.device),
            self.device,
        )
        channel = ProcessChannel(
            self._ranks, self._peer_groups, shapes, lowered, self._stages, self._outbox
        )

        def add_up(stage_pass: StagePass) -> None:
            self._replicas.add(stage_pass.stage, stage_pass.weight_gradients())

        training = spec.purpose is Purpose.TRAIN
        return self._workers.run(
            passes,
            lowered,
            gradients=training,
            wait=self.measure,
            channel=channel,
            then=add_up if training and self._replica_group is not None else None,
        )

    def _skip(self, spec: PassSpec) -> None:
        """Take part in a batch of which this replica has no rows."""
        for stage in self._stages:
            empty = StagePass(stage, spec)
            # States of no rows; but states, as on all replicas.
            empty.commit()
            if spec.purpose is Purpose.TRAIN:
                self._replicas.add(stage, empty.weight_gradients())

    def _join(self, timeline: Timeline | None) -> Timeline:
        """Return the events of all ranks of the first replica."""
        events_here = () if timeline is None or self._replica > 0 else timeline.events
        everywhere = self._ranks.gather(events_here, "the times of all ranks")
        return Timeline(self.plan.n_stages, tuple(e for events in everywhere for e in events))

    @property
    def _first_micro_batch(self) -> int:
        return self._replica * self.plan.grid.n_micro_batches

    def _count(self, n_elements: int) -> int:
        if self._replica_group is None:
            return n_elements
        count = torch.tensor(n_elements)
        with self._ranks.waiting("the number of elements of all replicas"):
            dist.all_reduce(count, group=self._replica_group)
        return int(count)

    def _gradients(self, passes: Sequence[StagePass]) -> list[Tensor | None]:
        return super()._gradients(passes) if self._replica_group is None else self._replicas.sums()

    def _loss_of(self, passes: Sequence[StagePass], spec: PassSpec) -> Tensor:
        loss_here = 0.0
        if self._has_last_stage and passes:
            # On a GPU, the host waits here for what other ranks have to send.
            with self._ranks.waiting("the loss of the step"):
                loss_here = super()._loss_of(passes, spec).item()
        n_rows = self._n_windows(spec) if self._stages[0].is_first else 0
        pair = torch.tensor([loss_here, n_rows], dtype=torch.float64)
        loss, n_rows = self._ranks.sum(pair, "all ranks to end the step").tolist()
        self.n_rows = int(n_rows)
        weight = self._stages[0].modules.blocks[0].some_weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return torch.tensor(loss, dtype=dtype, device=self.device)

    @property
    def _has_last_stage(self) -> bool:
        return self._stages[-1].is_last

    def _cut(self, x: Tensor, lengths: Tensor | None) -> Cells:
        if len(x) == 0:
            return Cells(0, x.shape[1], (), ())
        return super()._cut(x, lengths)
