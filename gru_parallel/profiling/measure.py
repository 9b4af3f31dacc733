"""Measures a profile: what the parts of a workload take on the devices of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import torch.distributed as dist

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind, Workload
from gru_parallel.planning.profile import OF_RANKS, Measured, Point, Profile
from gru_parallel.planning.stage_times import encoder_of, head_of, layer_kinds
from gru_parallel.profiling.engine_costs import (
    OptimizerMaker,
    engine_costs,
    hand_over,
    hand_over_of_ranks,
    optimizer_ns,
)
from gru_parallel.profiling.subjects import Precision, difference, subject_of
from gru_parallel.profiling.tables import Effort, cell_sizes, few_cell_sizes, measure_points

SECONDS = 8.0
"""What a profile may take, all parts together, where a pass over a layer takes little of that."""

TINY = 2
"""Features of layers that take next to nothing, so that what is around them can be seen."""


def measure(
    workload: Workload,
    cluster: Cluster,
    cores: Sequence[str],
    *,
    key: Mapping[str, Any],
    precision: Precision,
    make_optimizer: OptimizerMaker,
    replays: bool = False,
) -> Profile:
    """Measure the layers of a model, its encoder and its head on each kind of device.

    On CPUs everything is measured alone, and with all cores busy.

    Args:
        workload: whose parts are measured, on cells of its batch and window and on smaller ones.
        cluster: of this machine.
        cores: that layers are to be measured with, those of `CORES`.
        key: all that the numbers depend on, to find them by.
        precision: of the run.
        make_optimizer: makes the optimiser of the run.
        replays: whether steps are recorded and replayed on accelerators.
    """
    kinds = list({device.kind: device for device in cluster.devices}.values())
    first, *others = cluster.devices
    added = engine_costs((first, others[0] if others else first))
    jobs = [(device, n) for device in kinds for n in busy_counts(device, cluster, workload)]
    n_tables = len(jobs) * len(cores) * len(set(layer_kinds(workload.model, "native")))
    n_points = len(cell_sizes(workload.n_rows, workload.n_steps))
    # About a third goes into what is not layers, and into what is run before the clock starts.
    effort = Effort(SECONDS / (n_tables * n_points) / 3)
    parts = [
        part
        for device, n_busy in jobs
        for part in _Bench(
            workload,
            device,
            n_busy,
            precision,
            effort,
            CellTimes(*4 * [added.action_ms]),
            replays and not device.is_cpu,
        ).parts(list(dict.fromkeys(core_on(device.name, core) for core in cores)))
    ]
    return Profile(
        key,
        date.today().isoformat(),
        tuple(parts),
        _links(cluster),
        added.start_ms,
        optimizer_ns(
            make_optimizer, workload.model.blocks[0].hidden_size, first, precision.weights
        ),
    )


def _links(cluster: Cluster) -> dict[str, Link]:
    """Measure a hand-over for each pair of kinds, between two devices where there are two."""
    links: dict[str, Link] = {}
    for one in cluster.devices:
        for other in cluster.devices:
            kinds = f"{one.kind} {other.kind}"
            if kinds not in links and (one != other or one.is_cpu):
                links[kinds] = hand_over(one, other)
    if any(device.is_cpu for device in cluster.devices) and dist.is_gloo_available():
        links[OF_RANKS] = hand_over_of_ranks()
    return links


def busy_counts(device: Device, cluster: Cluster, workload: Workload) -> list[int]:
    """Return how many stages are to be busy at the same time: one, and as many as there can be."""
    if not device.is_cpu:
        return [1]
    n_cores = cluster.machines[device.machine].n_cores or 1
    return sorted({1, min(n_cores, len(workload.model.blocks))})


@dataclass(frozen=True)
class _Bench:
    """Measures the parts of a model on one device, beside so many busy stages."""

    workload: Workload
    device: Device
    n_busy: int
    precision: Precision
    effort: Effort
    by_engine: CellTimes
    replays: bool

    def parts(self, cores: Sequence[str]) -> Iterator[Measured]:
        """Measure all parts, layers with each of some cores."""
        around = self._around(cores[0])
        yield self._measured(None, [Point(1, 1, around.plus(self.by_engine))])
        rows, steps = self.workload.n_rows, self.workload.n_steps
        for core in cores:
            # Most plans have several stages and the first core.
            is_usual = core == cores[0] and (self.n_busy > 1 or not self.device.is_cpu)
            sizes = (cell_sizes if is_usual else few_cell_sizes)(rows, steps)
            for kind in dict.fromkeys(layer_kinds(self.workload.model, core)):
                points = self._points([kind], sizes)
                yield self._measured(kind, _without(points, around))
        yield from self._ends(cores[0])

    def _around(self, core: str) -> CellTimes:
        """What a stage takes for a cell besides its layers: of one layer more than of the next."""
        tiny = LayerKind(TINY, TINY, core=core)
        one, two = (self._points([tiny] * n, [(1, 1)])[0].times for n in (1, 2))
        return difference(one.times(2), two)

    def _ends(self, core: str) -> Iterator[Measured]:
        """Measure encoder and head, each with the layer beside it."""
        model, rows, steps = self.workload.model, self.workload.n_rows, self.workload.n_steps
        few = max(1, rows // 4)
        kinds = layer_kinds(model, core)
        for end, kind in ((encoder_of(model), kinds[0]), (head_of(model), kinds[-1])):
            if end is None:
                continue
            # One cell for a window, because a head may be applied to the last one alone.
            length = steps if end.every_step else 2
            sizes = [(few, length), (rows, length)]
            alone = self._points([kind], sizes, one_cell=True)
            with_end = self._points([kind], sizes, end=end, one_cell=True)
            points = [
                both._replace(times=difference(both.times, layer.times))
                for both, layer in zip(with_end, alone, strict=True)
            ]
            if not end.every_step:
                points += [point._replace(steps=length + steps) for point in points]
            yield self._measured(end, points)

    def _points(
        self,
        layers: Sequence[LayerKind],
        sizes: Sequence[tuple[int, int]],
        end: LinearKind | None = None,
        *,
        one_cell: bool = False,
    ) -> list[Point]:
        make = partial(
            subject_of,
            layers,
            self.device,
            self.precision,
            end if end is not None and not end.is_head else None,
            end if end is not None and end.is_head else None,
            replays=self.replays,
        )
        return measure_points(
            make,
            sizes,
            self.n_busy,
            separates_weights=layers[0].core != "native",
            most_steps=1 if one_cell else self.workload.n_steps,
            effort=self.effort,
        )

    def _measured(self, part: LayerKind | LinearKind | None, points: Sequence[Point]) -> Measured:
        return Measured(part, self.device.kind, self.n_busy, tuple(points))


def _without(points: Sequence[Point], around: CellTimes) -> list[Point]:
    return [point._replace(times=difference(point.times, around)) for point in points]
