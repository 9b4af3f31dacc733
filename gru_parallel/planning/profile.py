"""Profile: what a model took when it was measured, in parts and as a whole, and what lies between.

Pure: it holds numbers and looks them up; profiling/ measures them.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from gru_parallel.errors import UsageError
from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind

PROFILE_VERSION = 7

OF_RANKS = "cpu cpu, ranks"
"""The link of two ranks on the CPUs of one machine; others are by the kinds of both devices."""

_KINDS = {"layer": LayerKind, "linear": LinearKind}


class Point(NamedTuple):
    """What a part took on a cell of so many rows and steps."""

    rows: int
    steps: int
    times: CellTimes


@dataclass(frozen=True)
class Measured:
    """A part that was measured: on one kind of device, beside so many busy stages.

    Attributes:
        part: a layer, an encoder or a head; None for what a stage takes besides.
        device_kind: see `Device`.
        n_busy: stages that computed at the same time, this one included.
        points: what it took, on cells of several sizes.
    """

    part: LayerKind | LinearKind | None
    device_kind: str
    n_busy: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Trial:
    """A plan that was run before one was chosen.

    Attributes:
        plan: the plan.
        model: whose plan it is, see `trials.digest`.
        step_ms: what a training step took without its optimiser, the median; None where a device
            had no room for it.
    """

    plan: Plan
    model: str
    step_ms: float | None


@dataclass(frozen=True)
class Profile:
    """What was measured on one machine for one model.

    Attributes:
        key: all that the numbers depend on: machine, versions, model, number type, batch.
        made: when it was made, like "2026-11-27".
        parts: what was measured.
        links: of two devices, by the kinds of both: "cpu cpu"; and `OF_RANKS`.
        start_ms: what a step takes before its first cell and after its last.
        optimizer_ns: what the optimiser takes for each parameter.
        trials: plans of the whole model that were run; none if there was no choice.
    """

    key: Mapping[str, Any]
    made: str
    parts: tuple[Measured, ...]
    links: Mapping[str, Link]
    start_ms: float
    optimizer_ns: float
    trials: tuple[Trial, ...] = ()

    def to_json(self) -> str:
        """Write the profile as JSON that `from_json` reads back to an equal profile."""
        parts = [
            {
                "part": _part_to_json(each.part),
                "device_kind": each.device_kind,
                "n_busy": each.n_busy,
                "points": [[point.rows, point.steps, *point.times] for point in each.points],
            }
            for each in self.parts
        ]
        links = {kinds: asdict(link) for kinds, link in self.links.items()}
        trials = [{**asdict(each), "plan": json.loads(each.plan.to_json())} for each in self.trials]
        entries = {
            "version": PROFILE_VERSION,
            "key": dict(self.key),
            "made": self.made,
            "start_ms": self.start_ms,
            "optimizer_ns": self.optimizer_ns,
            "links": links,
            "parts": parts,
            "trials": trials,
        }
        return json.dumps(entries, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what `to_json` wrote.

        Raises:
            UsageError: the text is no profile of this version.
        """
        try:
            entries = json.loads(text)
            if entries["version"] != PROFILE_VERSION:
                raise ValueError(f"version {entries['version']}")
            return cls(
                entries["key"],
                entries["made"],
                tuple(
                    Measured(
                        _part_from_json(each["part"]),
                        each["device_kind"],
                        each["n_busy"],
                        tuple(Point(p[0], p[1], CellTimes(*p[2:])) for p in each["points"]),
                    )
                    for each in entries["parts"]
                ),
                {kinds: Link(**link) for kinds, link in entries["links"].items()},
                entries["start_ms"],
                entries["optimizer_ns"],
                # Those of earlier versions had none.
                tuple(
                    Trial(**{**each, "plan": Plan.from_json(json.dumps(each["plan"]))})
                    for each in entries.get("trials", [])
                ),
            )
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UsageError(
                f"the profile cannot be read: {error}; measure anew with plan=measure."
            ) from error


def _part_to_json(part: LayerKind | LinearKind | None) -> dict[str, Any] | None:
    if part is None:
        return None
    name = next(name for name, kind in _KINDS.items() if isinstance(part, kind))
    return {"kind": name, **asdict(part)}


def _part_from_json(entries: dict[str, Any] | None) -> LayerKind | LinearKind | None:
    if entries is None:
        return None
    kind: type[LayerKind] | type[LinearKind] = _KINDS[entries.pop("kind")]
    return kind(**entries)


@dataclass(frozen=True)
class MeasuredCosts:
    """A `CostModel` of what was measured; in between and beyond, by straight lines.

    Args:
        profile: of the devices and the model at hand.
        cluster: has the links that were not measured.
        of_ranks: whether each device is a rank's, which hands over otherwise than threads do.
    """

    profile: Profile
    cluster: Cluster
    of_ranks: bool = False
    _tables: dict[tuple[object, str], dict[int, Table]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tables: dict[tuple[object, str], dict[int, Table]] = {}
        for each in self.profile.parts:
            by_busy = tables.setdefault((each.part, each.device_kind), {})
            by_busy[each.n_busy] = Table(each.points)
        object.__setattr__(self, "_tables", tables)

    @property
    def source(self) -> str:
        """See `CostModel`."""
        return f"measured on {self.profile.made}"

    def layer(
        self, kind: LayerKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """See `CostModel`."""
        return self._look_up(kind, device, rows, steps, n_busy)

    def linear(
        self, kind: LinearKind, device: Device, rows: float, steps: float, n_busy: float
    ) -> CellTimes:
        """See `CostModel`."""
        return self._look_up(kind, device, rows, steps, n_busy)

    def around(self, device: Device, n_busy: float) -> CellTimes:
        """See `CostModel`."""
        return self._look_up(None, device, 1, 1, n_busy)

    def link(self, one: Device, other: Device) -> Link:
        """See `CostModel`."""
        is_one_machine = one.machine == other.machine
        kinds = f"{one.kind} {other.kind}"
        if self.of_ranks:
            kinds = OF_RANKS if one.is_cpu and other.is_cpu else ""
        measured = self.profile.links.get(kinds) if is_one_machine else None
        return measured or self.cluster.link(one, other)

    def step_ms(self, device: Device, n_parameters: int) -> float:
        """See `CostModel`."""
        del device
        return self.profile.start_ms + 1e-6 * self.profile.optimizer_ns * n_parameters

    def _look_up(
        self,
        part: LayerKind | LinearKind | None,
        device: Device,
        rows: float,
        steps: float,
        n_busy: float,
    ) -> CellTimes:
        by_busy = self._tables[part, device.kind]
        numbers = sorted(by_busy)
        # Nobody has measured more busy stages than there are cores.
        busy = min(max(n_busy, numbers[0]), numbers[-1])
        return _between(numbers, [by_busy[number].at(rows, steps) for number in numbers], busy)


class Table:
    """Times of one part over rows and steps, linear between its points and beyond them."""

    def __init__(self, points: Sequence[Point]) -> None:
        by_rows: dict[int, dict[int, CellTimes]] = {}
        for point in points:
            by_rows.setdefault(point.rows, {})[point.steps] = point.times
        self._rows = sorted(by_rows)
        self._by_rows = [sorted(by_rows[rows].items()) for rows in self._rows]
        self.at = lru_cache(maxsize=None)(self._at)

    def _at(self, rows: float, steps: float) -> CellTimes:
        """Return the times on a cell of so many rows and steps."""
        at_rows = [
            _between([s for s, _ in line], [times for _, times in line], steps)
            for line in self._by_rows
        ]
        return _between(self._rows, at_rows, rows)


def _between(at: Sequence[int], values: Sequence[CellTimes], wanted: float) -> CellTimes:
    """Look up a value on a line of straight pieces; what is linear stays so.

    Beyond the ends the outer pieces go on, but nothing takes less than nothing. One point alone is
    taken to be proportional.
    """
    if len(at) == 1:
        return values[0] if at[0] == wanted else values[0].times(wanted / at[0])
    right = min(max(bisect_left(at, wanted), 1), len(at) - 1)
    left = right - 1
    share = (wanted - at[left]) / (at[right] - at[left])
    between = values[left].times(1 - share).plus(values[right].times(share))
    return CellTimes(*(max(0.0, ms) for ms in between))
