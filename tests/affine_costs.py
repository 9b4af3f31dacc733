"""A cost model of round numbers: so much for each cell, and so much for each row and step of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind

FREE = Link(0.0, float("inf"))


@dataclass(frozen=True)
class AffineCosts:
    """F of a layer takes `cell_ms` and `row_step_ms` for each row and step; B and W as much each.

    Attributes:
        row_step_ms: of a layer.
        cell_ms: of a layer.
        ends_ms: of an encoder or a head, for each row and step, or each row.
        around_ms: of a stage, for each F, B and W.
        slower: by kind of device, how many times as long everything takes there.
        hand_over: the link of any two devices.
        cluster: which has the links instead.
        once_ms: of a step.
        crowded: of infinitely many busy stages beside one, how much longer it takes, as a share.
    """

    row_step_ms: float = 1.0
    cell_ms: float = 0.0
    ends_ms: float = 0.0
    around_ms: float = 0.0
    slower: Mapping[str, float] = field(default_factory=dict)
    hand_over: Link = FREE
    cluster: Cluster | None = None
    once_ms: float = 0.0
    crowded: float = 0.0
    source: str = "made up"

    def layer(
        self, kind: LayerKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        ways = 2 if kind.bidirectional else 1
        return self._times(ways * (self.cell_ms + self.row_step_ms * rows * steps), device, n_busy)

    def linear(
        self, kind: LinearKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        return self._times(self.ends_ms * rows * (steps if kind.every_step else 1), device, n_busy)

    def around(self, device: Device, n_busy: float) -> CellTimes:
        return self._times(self.around_ms, device, n_busy)

    def link(self, one: Device, other: Device) -> Link:
        return self.hand_over if self.cluster is None else self.cluster.link(one, other)

    def step_ms(self, device: Device, n_parameters: int) -> float:
        return self.once_ms

    def _times(self, ms: float, device: Device, n_busy: float) -> CellTimes:
        factor = self.slower.get(device.kind, 1.0) * (1 + self.crowded * (1 - 1 / n_busy))
        return CellTimes(1.0, 1.0, 1.0, 2.0).times(factor * ms)
