"""One rank of the peer, `torch.distributed.pipelining`: over NCCL on GPUs, over Gloo on CPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from benchmarks.gpu.cases import SCHEDULE, Case
from benchmarks.gpu.subjects import Subject, batch_on, dtype_of
from benchmarks.peer import Peer
from benchmarks.peer_stage import PeerStage
from benchmarks.stopwatch import drop_gradients
from gru_parallel.engine.torch_device import torch_device


class PeerRank(Subject):
    """The stage of this process.

    Args:
        case: what to run.
        devices: one a rank.
    """

    def __init__(self, case: Case, devices: Sequence[str]) -> None:
        rank, size = int(os.environ["RANK"]), case.shape.hidden_size
        device, dtype = torch_device(devices[rank]), dtype_of(case.precision)
        options: dict[str, Any] = {"backend": "gloo"}
        if device.type != "cpu":
            torch.accelerator.set_device_index(device)
            options = {"backend": "nccl", "device_id": device}
        dist.init_process_group(**options)
        self.meet = dist.barrier
        layers = case.plan(devices).stage_layers(rank)
        with torch.device(device):
            gru, head = nn.GRU(size, size, case.shape.num_layers), nn.Linear(size, 1)
            self._stage = PeerStage(gru, layers, head).to(dtype)
        n_rows = case.shape.batch_size
        self._peer = Peer(self._stage, SCHEDULE, case.n_micro_batches, n_rows, device)
        self._x, self._y = batch_on(case.shape, dtype, devices[rank], devices[rank])

    def step(self) -> None:
        """See `Subject`."""
        drop_gradients(self._stage.parameters())
        self._peer.train_step(self._x, self._y)

    def close(self) -> None:
        """See `Subject`."""
        dist.destroy_process_group()
