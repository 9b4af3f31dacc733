"""GRU: the drop-in for `nn.GRU` that runs over several devices."""

from __future__ import annotations

from typing import Any, Self, cast, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gru_parallel.choices import AUTO, CORES
from gru_parallel.dropin.borrowed_stack import BorrowedStack
from gru_parallel.dropin.differentiable import run
from gru_parallel.engine.context import REMEDY, refuse_what_looks_inside
from gru_parallel.engine.devices import default_devices, existing_devices
from gru_parallel.errors import UsageError, in_other_words
from gru_parallel.model.autocast import GRUsAsAsked
from gru_parallel.model.copies import deep_copy
from gru_parallel.model.windows import Windows
from gru_parallel.own_names import is_own
from gru_parallel.placement import Grid, ModelSpec, Plan, block_costs, cut_stack
from gru_parallel.planning import (
    check_reverse_devices,
    check_weights_can_wait,
    default_chunks,
    make_plan,
    plan_from_device_map,
)
from gru_parallel.schedule import SCHEDULES

_OWN_NAMES = {
    "placement.device_map": "device_map",
    "model.layers_per_block": "blocks",
    "model.bidirectional": "bidirectional",
    "model.core": "core",
    "schedule.n_micro_batches": "n_micro_batches",
    "schedule.n_chunks": "n_chunks",
    "schedule.recompute": "recompute",
}

_OF_WORKERS: dict[str, Any] = {"_stack": None, "_made_for": None}
"""What a copy makes anew: threads can be neither copied nor pickled."""


class GRU(nn.GRU):
    """`nn.GRU`, cut into blocks and run over several devices, in forward and in backward.

    Takes the arguments of `nn.GRU` and gives its results, state dict and gradients: replace
    `nn.GRU` by `gru_parallel.GRU`, name the devices, and leave the training loop as it is. Outputs
    and last states come out on the input's device. The parameters move to their devices and the
    worker threads start with the first call; the threads end with the module. Threads that call one
    module take turns.

    Beside the arguments of `nn.GRU`:

    Args:
        blocks: layers per block; the block is what has a device.
        device_map: one device per block, or ranges of blocks (see `parse_device_map`); "auto"
            spreads the blocks over every accelerator, or over one logical CPU device per core. None
            stays where the parameters are, in the caller's own thread.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time; a shorter sequence is cut into its steps. By default 1 on one
            accelerator or without a device map, as many as pay on several, 8 on CPUs.
        schedule: "gpipe", "one_f_one_b", "zero_bubble" or "naive": the order of the slices. Where
            backward comes as a whole, as here, "zero_bubble" saves little, and keeps what W needs
            beside what a second backward would.
        core: how a layer computes a chunk: "native" is torch's own operator; "fused" keeps the
            gates for backward, "lean" works them out again from inputs and outputs; "auto" is
            fused on CPUs and native elsewhere.
        recompute: "cell" keeps of each slice only its input and the state that entered it, and
            backward runs its forward again, with the same results: less memory, more time. "none"
            keeps all.
        graphs: whether calls are recorded as CUDA graphs and replayed; None where all stages are on
            CUDA devices. Weights must then not be changed between a forward and its backward.

    Differs from `nn.GRU` in this: dropout draws other random numbers, the same ones on every device
    map and in every schedule, for given `n_micro_batches` and `n_chunks`; under autocast outputs
    and h_n have the type that was asked for; it can be differentiated once, not twice, and not
    forward; it cannot be scripted, traced, exported or transformed by `torch.func`, and
    `torch.compile` breaks its graph there; a checkpoint without `use_reentrant=True` around it
    saves no memory; it does not run where tensors kept for backward may change
    (`allow_mutation_on_saved_tensors`) or must have no hooks. What it cannot do it refuses.

    Two tools need a word. With a device map `torch.profiler` shows the operations of all devices
    with `experimental_config=_ExperimentalConfig(profile_all_threads=True)` only, and
    `quantize_dynamic` passes a drop-in over: put the `nn.GRU` of `to_torch()` in its place first.

    Raises:
        UsageError: the device map or a size cannot work.
    """

    _stack: BorrowedStack | None = None
    _made_for: object = None
    # Of a module that was pickled before there were any.
    graphs: bool | None = None
    core: str = AUTO
    recompute: str = "none"

    def __init__(
        self,
        *args: Any,
        blocks: int = 1,
        device_map: object = None,
        n_micro_batches: int = 1,
        n_chunks: int | None = None,
        schedule: str = "gpipe",
        core: str = AUTO,
        recompute: str = "none",
        graphs: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.blocks = blocks
        self.device_map = device_map
        self.n_micro_batches = n_micro_batches
        self.n_chunks = 1 if n_chunks is None else n_chunks
        self.schedule = schedule
        self.core = core
        self.recompute = recompute
        self.graphs = graphs
        # A map that cannot work is an error here, not at the first call.
        plan = self._plan()
        if n_chunks is None and device_map is not None:
            self.n_chunks = default_chunks(plan)

    @overload
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    @overload
    def forward(
        self, input: PackedSequence, hx: Tensor | None = None
    ) -> tuple[PackedSequence, Tensor]: ...

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run the stack; see `nn.GRU`.

        Args:
            input: shape (time, batch, input_size), or (batch, time, input_size) with batch_first,
                or (time, input_size) for one sequence; or a `PackedSequence`.
            hx: h_0, shape (D * num_layers, batch, hidden_size), D being 2 if bidirectional;
                without batch for one sequence. None for zeros.

        Returns:
            output: of the form of `input`, with D * hidden_size features.
            h_n: of the form of `hx`.

        Raises:
            ValueError: as `nn.GRU`: input has a wrong number of dimensions, or another type.
            RuntimeError: as `nn.GRU`: input or hx has a wrong shape.
        """
        # As nn.GRU: the weights of this call, each asked for as often as it asks. A parametrization
        # may change with every question.
        self._update_flat_weights()
        if self._weights()[0].is_meta:
            # Shapes alone.
            return super().forward(input, hx)
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"GRU: Expected input to be 2D or 3D, got {input.dim()}D instead")
        is_batched = input.dim() == 3
        if hx is not None and hx.dim() != input.dim():
            kind = "batched 3-D" if is_batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {input.dim()}-D but got {hx.dim()}-D tensor"
            )
        if not is_batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            hx = None if hx is None else hx.unsqueeze(1)
        x = input if self.batch_first else input.transpose(0, 1)
        hx = self._zeros(x.shape[0], input) if hx is None else hx
        self.check_forward_args(input, hx, None)
        if 0 in input.shape:
            # Nothing to cut.
            y, h_n = self._run_in_one_piece(input, hx)
        else:
            y, h_n = self._run(x, hx, None)
            y = y.transpose(0, 1) if self.batch_first else y
        if not is_batched:
            return y.squeeze(0 if self.batch_first else 1), h_n.squeeze(1)
        return y, h_n

    def _forward_packed(
        self, packed: PackedSequence, hx: Tensor | None
    ) -> tuple[PackedSequence, Tensor]:
        data, batch_sizes, sorted_indices, unsorted_indices = packed
        if hx is None:
            hx = self._zeros(int(batch_sizes[0]), data)
        else:
            hx = self.permute_hidden(hx, sorted_indices)
        self.check_forward_args(data, hx, batch_sizes)
        # Sorted as they are, the longest first.
        x, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes), batch_first=True)
        y, h_n = self._run(x, hx, lengths)
        output = pack_padded_sequence(y, lengths).data
        return (
            PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices),
            self.permute_hidden(h_n, unsorted_indices),
        )

    def _zeros(self, batch_size: int, like: Tensor) -> Tensor:
        n_states = self.num_layers * (2 if self.bidirectional else 1)
        return like.new_zeros(n_states, batch_size, self.hidden_size)

    def _weights(self) -> list[Tensor]:
        """The weights that `nn.GRU` would compute with, in its order."""
        return cast("list[Tensor]", self._flat_weights)

    # Threads and queues are none of the compiler's business: it breaks its graph here.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _run(self, x: Tensor, h_0: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the pipeline; x comes as (batch, time, input_size), y as (time, batch, features)."""
        weights = self._weights()
        refuse_what_looks_inside((x, h_0, *weights))
        seed = 0
        if self.training and self.dropout > 0.0:
            # From torch's generator, so that a seed repeats a run and each call differs.
            seed = int(torch.randint(2**62, (), device="cpu"))
        stack = self._pipeline(str(weights[0].device))
        windows = Windows(x, lengths=lengths, h_0=h_0)
        return run(stack, windows, weights, training=self.training, seed=seed)

    def _run_in_one_piece(self, input: Tensor, h_0: Tensor) -> tuple[Tensor, Tensor]:
        """Run as `nn.GRU` does, where the weights may lie on several devices."""
        weights = [weight.to(input.device) for weight in self._weights()]
        options = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        with GRUsAsAsked(input.device.type):
            y, h_n = torch.gru(input, h_0.contiguous(), weights, *options, self.batch_first)
        return y, h_n

    def _pipeline(self, where: str) -> BorrowedStack:
        """Return the pipeline for the options as they are now, with the weights on `where`."""
        in_thread = self.device_map is None
        placed = (where if in_thread else None, str(self.device_map), self.blocks)
        cut = (self.n_micro_batches, self.n_chunks, self.schedule)
        wanted = (self.dropout, *placed, *cut, self.core, self.recompute, self.graphs)
        stack = self._stack
        if stack is None or self._made_for != wanted:
            plan = self._plan(where)
            stack = BorrowedStack(
                self, plan, in_thread=in_thread, core=self.core, graphs=self.graphs
            )
            self._stack, self._made_for = stack, wanted
        return stack

    def _plan(self, where: str = "cpu") -> Plan:
        if self.schedule not in SCHEDULES and not is_own(self.schedule):
            raise UsageError(f"schedule={self.schedule!r}: use one of {', '.join(SCHEDULES)}.")
        if self.core not in CORES and not is_own(self.core):
            raise UsageError(f"core={self.core!r}: use one of {', '.join(CORES)}.")
        try:
            cut = (self.n_micro_batches, self.n_chunks)
            grid = Grid(self.blocks, self.schedule, *cut, recompute=self.recompute)
            if self.device_map is None or self.device_map == AUTO:
                sizes = (self.input_size, self.hidden_size, self.num_layers, self.blocks)
                blocks = cut_stack(*sizes, bidirectional=self.bidirectional)
                # Only how costs compare with each other matters: one step of one row will do.
                costs = block_costs(ModelSpec(blocks), n_steps=1, batch_size=1)
                devices = default_devices() if self.device_map == AUTO else [where]
                plan = make_plan(costs, devices, self.num_layers, grid)
            else:
                plan = plan_from_device_map(
                    self.device_map, existing_devices(), num_layers=self.num_layers, grid=grid
                )
            check_reverse_devices(plan, [self.bidirectional] * plan.n_blocks)
            check_weights_can_wait(plan, [self.core] * plan.n_blocks)
            return plan
        except UsageError as error:
            raise in_other_words(error, _OWN_NAMES) from error

    def flatten_parameters(self) -> None:
        """Do nothing: the next call puts the weights of each block into one piece of memory."""

    @classmethod
    def from_torch(cls, gru: nn.GRU, **extras: Any) -> Self:
        """Make a drop-in with the weights, the options and the mode of an `nn.GRU`.

        Args:
            gru: what to copy.
            extras: `blocks`, `device_map`, `n_micro_batches`, `n_chunks`, `schedule`, `core`,
                `recompute`, `graphs`.

        Raises:
            TypeError: it is not an `nn.GRU`.
        """
        copy: Self = _copy(gru, cls, **extras)
        return copy

    def to_torch(self) -> nn.GRU:
        """Make an `nn.GRU` with this one's weights, options and mode, all on one device."""
        copy: nn.GRU = _copy(self, nn.GRU)
        return copy

    def extra_repr(self) -> str:
        """Describe the module as `nn.GRU` does, and how it is cut."""
        extras = f"blocks={self.blocks}, device_map={self.device_map}"
        cut = f"n_micro_batches={self.n_micro_batches}, n_chunks={self.n_chunks}"
        return (
            f"{super().extra_repr()}, {extras}, {cut}, schedule={self.schedule}, core={self.core}"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deep_copy(self, memo, **_OF_WORKERS)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]
        return state | _OF_WORKERS

    def _replicate_for_data_parallel(self) -> Self:
        # A replica has weights of its own.
        replica: Self = super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]
        replica._stack = None
        return replica

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse to be scripted: torch asks for this before it tries."""
        raise RuntimeError(f"gru_parallel.GRU cannot be scripted: {REMEDY}")


def _copy(gru: nn.GRU, kind: type[Any], **extras: Any) -> Any:
    if not isinstance(gru, nn.GRU):
        raise TypeError(f"an nn.GRU is wanted, not {type(gru).__name__}.")
    # On no device: weights would be drawn there, and the next random numbers be others.
    copy = kind(
        gru.input_size,
        gru.hidden_size,
        gru.num_layers,
        bias=gru.bias,
        batch_first=gru.batch_first,
        bidirectional=gru.bidirectional,
        device="meta",
        **extras,
    )
    # Of one layer it means nothing, and the constructor would warn of it again.
    copy.dropout = gru.dropout
    device = gru.all_weights[0][0].device
    for name in (name for names in gru._all_weights for name in names):
        weight = getattr(gru, name)
        copied = weight.detach().to(device, copy=True)
        setattr(copy, name, nn.Parameter(copied, requires_grad=weight.requires_grad))
    # As new: else the first call would think that all weights have changed.
    copy._init_flat_weights()
    return copy.train(gru.training)
