"""The Lightning strategy of a pipeline in one process. Places nothing itself: it asks the plan."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.engine.torch_device import torch_device
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.training.accumulation import accumulate_as_scheduled
from gru_parallel.training.background import Background
from gru_parallel.training.checkpoint_file import CheckpointFile, read_checkpoint
from gru_parallel.training.checkpoint_folder import IN_PARTS
from gru_parallel.training.module import SeriesModule
from gru_parallel.training.optimizer_state import Keys, by_name, names_in, part_for
from gru_parallel.training.saving_clock import SavingClock

Thing = TypeVar("Thing")


class PipelineStrategy(SingleDeviceStrategy):
    """Runs a `SeriesModule` over the stages of a plan in this process, one worker thread per stage.

    To Lightning it is a single device, that of the last stage, which computes loss, predictions and
    metrics. Parameters and their optimiser states stay on their stages' devices.

    Args:
        plan: which blocks make which stage on which device, and how a batch is cut.
        device: that Lightning sees; None for the last stage's.
        graphs: whether steps are recorded and replayed; None where all stages are on CUDA devices.
        saves_in_background: whether training continues while a checkpoint is written.

    Attributes:
        is_one_of_many: whether this process is one rank of many.
        saving: writes checkpoints; wait for it before one is read.
        engine: runs the model between `setup` and `teardown`; None outside.
    """

    strategy_name = "gru_parallel"
    # Not is_distributed: for such a strategy, Lightning uses its distributed samplers.
    is_one_of_many = False

    def __init__(
        self,
        plan: Plan,
        device: torch.device | None = None,
        *,
        graphs: bool | None = None,
        saves_in_background: bool = False,
    ) -> None:
        super().__init__(
            device=device or torch_device(plan.devices[-1]), checkpoint_io=CheckpointFile()
        )
        self.plan = plan
        self.graphs = graphs
        self.node_rank = 0
        number_process(self.global_rank)
        self.engine: PipelineEngine | None = None
        self.saving = Background(is_used=saves_in_background)
        self._clock = SavingClock()

    def model_to_device(self) -> None:
        """Put each stage on its device and start the workers."""
        module = self.lightning_module
        if not isinstance(module, SeriesModule):
            raise UsageError(
                f"PipelineStrategy runs a gru_parallel.training.SeriesModule, not a"
                f" {type(module).__name__}; wrap the model in one."
            )
        module.metrics.to(self.root_device)
        self.engine = self.make_engine(module)
        self.engine.open()
        module.use_engine(self.engine)

    @property
    def module(self) -> SeriesModule:
        """What is trained, tested, or predicted with."""
        assert isinstance(self.lightning_module, SeriesModule)
        return self.lightning_module

    def make_engine(self, module: SeriesModule) -> PipelineEngine:
        """Create the engine that runs the module's model."""
        return ThreadEngine(
            module.model, self.plan, module.loss, seed=module.seed, graphs=self.graphs
        )

    def batch_to_device(
        self, batch: Any, device: torch.device | None = None, dataloader_idx: int = 0
    ) -> Any:
        """Leave the batch where it is: each stage fetches what it needs, cell by cell."""
        return batch

    def gather_objects(self, thing: Thing, what: str) -> list[Thing]:
        """Return what every rank has, in the order of the ranks; all of them call this together.

        Args:
            thing: of this rank; it can be pickled.
            what: this rank waits for, in words.
        """
        return [thing]

    def training_step(self, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Run a step whose gradients are scaled while they are computed, if they are to be.

        Lightning's scaler multiplies the loss after the step, in which B has been.
        """
        scaler = getattr(self.precision_plugin, "scaler", None)
        if self.engine is not None and scaler is not None:
            self.engine.loss_scale = scaler.get_scale()
        return super().training_step(*args, **kwargs)

    def on_train_start(self) -> None:
        """Accumulate as scheduled in an epoch that is resumed, whose start nothing announces."""
        accumulate_as_scheduled(self.module.trainer)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return an optimiser's state, by the names of its weights."""
        return by_name(super().optimizer_state(optimizer), self.names_in(optimizer))

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint that needs nothing beside it, in the background if asked to.

        Raises:
            OSError: it cannot be written, or the one before could not.
        """
        checkpoint |= self.kept_in_checkpoint(filepath)
        if self.saving.is_used:
            # What is trained on changes before it is written.
            checkpoint = tree_map_only(Tensor, copied, checkpoint)
        write = self.checkpoint_io.save_checkpoint
        self.saving.run(partial(write, checkpoint, filepath, storage_options))

    def kept_in_checkpoint(self, path: _PATH) -> dict[str, Any]:
        """Return what a checkpoint keeps of the strategy: its plan, and when it is written."""
        return {"plan": self.plan.to_json(), "saved_at": self._clock.now(Path(path).parent)}

    def load_checkpoint(
        self, checkpoint_path: _PATH, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Open a checkpoint without reading all of it: each process takes its part.

        Raises:
            UsageError: it is not one, or is damaged.
        """
        self.saving.wait()
        if "://" in str(checkpoint_path):
            return super().load_checkpoint(checkpoint_path, weights_only is not False)
        saved = read_checkpoint(checkpoint_path, weights_only=weights_only is not False)
        self._clock.loaded(saved)
        # The rest is copied, because the file may be replaced while this run trains.
        return {
            name: part if name in IN_PARTS else tree_map_only(Tensor, torch.clone, part)
            for name, part in saved.items()
        }

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load the weights into a model of the type that they are trained in."""
        assert self.lightning_module is not None
        # Lightning converts it only later, when float64 weights have been rounded to float32.
        self.precision_plugin.convert_module(self.lightning_module)
        self.load_weights(checkpoint["state_dict"], strict)

    def load_weights(self, weights: Mapping[str, Any], strict: bool) -> None:
        """Load the weights of a checkpoint, by name."""
        self.module.load_state_dict(weights, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load optimiser states, each onto the device of its parameter, not all onto one."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            # Checkpoints of earlier versions, and of other strategies, have it by number.
            named = by_name(saved, self.numbered_names(optimizer))
            optimizer.load_state_dict(part_for(self.names_in(optimizer), named))
            for state in optimizer.state.values():
                # The file may be overwritten while this run trains.
                state |= tree_map_only(Tensor, torch.clone, state)

    def names_in(self, optimizer: Optimizer) -> Keys:
        """Return the names of an optimiser's weights."""
        return names_in(optimizer, self.module)

    def numbered_names(self, optimizer: Optimizer) -> Keys:
        """Return the names of the weights that a state without names has by number."""
        return self.names_in(optimizer)

    def on_exception(self, exception: BaseException) -> None:
        """Wait for the checkpoint that is being written; another failure is on its way."""
        with suppress(Exception):
            self.saving.wait()

    def teardown(self) -> None:
        """End the workers and bring the model back to the CPU."""
        self.saving.wait()
        if self.engine is not None:
            self.engine.close()
            self.engine = None
            self.module.use_engine(None)
        super().teardown()


def number_process(rank: int) -> None:
    """Tell Lightning's loggers this process's rank in its own run.

    They go by what a launcher's variables say, and several runs of one launch would be silent.
    """
    vars(rank_zero_only)["rank"] = rank


def copied(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, unless another process has it."""
    return tensor if tensor.is_meta else tensor.detach().to("cpu", copy=True)


def finish_saving(trainer: pl.Trainer) -> None:
    """Wait for the checkpoint that is being written, if one is.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(trainer.strategy, PipelineStrategy):
        trainer.strategy.saving.wait()


def engine_of(trainer: pl.Trainer) -> PipelineEngine | None:
    """Return the engine that runs the trainer's model now, None where no pipeline does."""
    strategy = trainer.strategy
    return strategy.engine if isinstance(strategy, PipelineStrategy) else None


def n_rows_of(trainer: pl.Trainer, batch: Mapping[str, Any]) -> int:
    """Return the windows of the batch that was trained on last, those of all replicas."""
    engine = engine_of(trainer)
    return len(batch["x"]) if engine is None else engine.n_rows
