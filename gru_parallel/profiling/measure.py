"""Measures a profile: what the parts of a workload take on the devices of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import cycle
from time import perf_counter
from typing import Any

import torch.distributed as dist

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind, Workload
from gru_parallel.planning.profile import OF_RANKS, Measured, Point, Profile
from gru_parallel.planning.stage_times import encoder_of, head_of, layer_kinds
from gru_parallel.profiling.cell_sizes import cell_sizes, few_cell_sizes, longest
from gru_parallel.profiling.engine_costs import (
    OptimizerMaker,
    engine_costs,
    hand_over,
    hand_over_of_ranks,
    optimizer_ns,
)
from gru_parallel.profiling.pipelines import Precision, Sample, difference, median_of
from gru_parallel.profiling.smoothing import smoothed

SECONDS = 9.5
"""So long a profile takes: samples are run one after the other, again and again."""
N_TURNS = 2
"""Samples of a large model are run for longer, until each has been run so often."""
MOST_SECONDS = 23.0
"""But a profile takes no longer than this, once each has been run."""

TimeOf = Callable[[Sample], CellTimes]

TINY = 2
"""Features of layers that take next to nothing, so that what is around them can be seen."""
SHORT = 16


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
    start = perf_counter()
    kinds = list({device.kind: device for device in cluster.devices}.values())
    first, *others = cluster.devices
    added = engine_costs((first, others[0] if others else first), replays=replays)
    links = _links(cluster)
    width = workload.model.blocks[0].hidden_size
    # In a process that has had no optimiser yet, torch imports a second's worth for the first.
    of_optimizer = optimizer_ns(make_optimizer, width, first, precision.weights)
    jobs = [(device, n) for device in kinds for n in busy_counts(device, cluster, workload)]

    def parts(time_of: TimeOf) -> list[Measured]:
        benches = [_Bench(workload, *job, added.action_ms, time_of) for job in jobs]
        return [part for bench in benches for part in bench.parts(cores)]

    wanted: list[Sample] = []

    def note(sample: Sample) -> CellTimes:
        wanted.append(sample)
        return CellTimes()

    # Once to see what is to be run, and once with what came of it.
    parts(note)
    found = run_samples(wanted, precision, replays=replays, start=start)
    measured = tuple(parts(found.__getitem__))
    today = date.today().isoformat()
    return Profile(key, today, measured, links, added.start_ms, of_optimizer)


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


def run_samples(
    samples: Sequence[Sample], precision: Precision, *, replays: bool, start: float
) -> dict[Sample, CellTimes]:
    """Run samples in turns, and return the median of what each time was.

    A run will be disturbed as much as the samples are, so the median is nearer to what it takes
    than the least is.

    Args:
        samples: to run.
        precision: of the run.
        replays: whether steps are recorded and replayed on accelerators.
        start: when the profile was begun, by `perf_counter`.
    """
    taken: dict[Sample, list[CellTimes]] = {sample: [] for sample in samples}
    # Memory that is new to the process makes steps longer by a tenth and more.
    max(samples, key=lambda sample: sample.rows * sample.steps * sample.n_layers).times(
        precision, replays=False
    )
    for number, sample in enumerate(cycle(taken)):
        turn = number // len(taken)
        enough_s = SECONDS if turn >= N_TURNS else MOST_SECONDS
        if turn > 0 and perf_counter() - start > enough_s:
            break
        is_cpu = sample.devices[0].startswith("cpu")
        taken[sample].append(sample.times(precision, replays=replays and not is_cpu))
    return {sample: median_of(of_sample) for sample, of_sample in taken.items()}


@dataclass(frozen=True)
class _Bench:
    """Puts together what parts take on one kind of device, beside so many busy stages."""

    workload: Workload
    device: Device
    n_busy: int
    action_ms: float
    time_of: TimeOf

    def parts(self, cores: Sequence[str]) -> Iterator[Measured]:
        """Say what all parts take, layers with each of some cores."""
        usual, *others = dict.fromkeys(core_on(self.device.name, core) for core in cores)
        around = self._around(usual)
        by_engine = CellTimes(*4 * [self.action_ms])
        yield self._measured(None, [Point(1, 1, around.plus(by_engine))])
        rows, steps = self.workload.n_rows, self._longest(layer_kinds(self.workload.model, usual))
        for core in (usual, *others):
            # Most plans have several stages and the first core.
            is_usual = core == usual and (self.n_busy > 1 or not self.device.is_cpu)
            sizes = (cell_sizes if is_usual else few_cell_sizes)(rows, steps)
            if self.workload.model.n_decoding > 0:
                # The steps after the window run as rows of one step.
                sizes.append((rows * self.workload.model.n_decoding, 1))
                sizes = list(dict.fromkeys(sizes))
            for kind in dict.fromkeys(layer_kinds(self.workload.model, core)):
                yield self._measured(kind, [self._layer(kind, *size, around) for size in sizes])
        if self.n_busy == 1:
            yield from self._ends(usual)

    def _around(self, core: str) -> CellTimes:
        """What a stage takes for a cell besides its layers: of one layer more than of the next."""
        tiny = LayerKind(TINY, TINY, core=core)
        one, two = (self.time_of(self._sample(tiny, 1, 1, n_layers=n)) for n in (1, 2))
        return difference(one.times(2), two)

    def _layer(self, kind: LayerKind, rows: int, steps: int, around: CellTimes) -> Point:
        # What differs from what it gives out can only be the first.
        is_alike = kind.input_size == kind.output_size
        n_blocks = len(self.workload.model.blocks)
        # One layer alone has no gradient of its input to work out; and in long chunks beside
        # others what is around layers hardly counts.
        fits = n_blocks >= 2 * self.n_busy and (self.n_busy == 1 or steps <= SHORT)
        n_layers = 2 if is_alike and fits else 1
        whole = self.time_of(self._sample(kind, rows, steps, n_layers=n_layers))
        return Point(rows, steps, difference(whole, around).times(1 / n_layers))

    def _ends(self, core: str) -> Iterator[Measured]:
        """Say what encoder and head take, each beside a layer; others do not matter to them."""
        model, rows = self.workload.model, self.workload.n_rows
        kinds = layer_kinds(model, core)
        steps = self._longest(kinds)
        few = dict.fromkeys((max(1, rows // 4), rows))
        lengths = dict.fromkeys((min(2, steps), steps))
        encoder, head = encoder_of(model), head_of(model)
        if encoder is not None:
            pairs = [(n, length) for n in few for length in lengths]
            yield self._measured(encoder, [self._encoder(kinds[0], encoder, *p) for p in pairs])
        if head is not None and head.every_step:
            pairs = [(n, length) for n in few for length in lengths]
            yield self._measured(head, [self._step_head(kinds[-1], head, *p) for p in pairs])
        elif head is not None:
            # The same on a cell of any length.
            n_read = [n * max(1, model.n_decoding) for n in few]
            points = [self._window_head(kinds[-1], head, n) for n in n_read]
            yield self._measured(head, [*points, *(p._replace(steps=steps + 1) for p in points)])

    def _longest(self, kinds: Sequence[LayerKind]) -> int:
        work = self.workload
        return longest(kinds, work.n_rows, work.n_steps, is_cpu=self.device.is_cpu)

    def _encoder(self, kind: LayerKind, encoder: LinearKind, rows: int, steps: int) -> Point:
        bare = self._sample(kind, rows, steps)
        return self._end(replace(bare, encoder=encoder), bare)

    def _step_head(self, kind: LayerKind, head: LinearKind, rows: int, steps: int) -> Point:
        bare = self._sample(kind, rows, steps)
        return self._end(replace(bare, head=head), bare)

    def _end(self, whole: Sample, bare: Sample) -> Point:
        times = difference(self.time_of(whole), self.time_of(bare))
        return Point(whole.rows, whole.steps, times)

    def _window_head(self, kind: LayerKind, head: LinearKind, rows: int) -> Point:
        one_way = replace(kind, input_size=kind.output_size, hidden_size=kind.output_size)
        sample = replace(
            self._sample(replace(one_way, bidirectional=False), rows, 2),
            head=head,
            of_head=True,
        )
        return Point(rows, 1, self.time_of(sample))

    def _sample(self, kind: LayerKind, rows: int, steps: int, n_layers: int = 1) -> Sample:
        name = self.device.name
        # Logical devices on the CPU, which need not be those of the run.
        names = (f"cpu:{index}" if self.device.is_cpu else name for index in range(self.n_busy))
        return Sample(kind, n_layers, tuple(names), rows, steps)

    def _measured(self, part: LayerKind | LinearKind | None, points: Sequence[Point]) -> Measured:
        # Others disturb an accelerator little, and there times bend over rows.
        taken = smoothed(points) if self.device.is_cpu else tuple(points)
        return Measured(part, self.device.kind, self.n_busy, taken)
