"""Problem: what is to be planned: which settings there are, and where blocks are cut for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Cluster, Device
from gru_parallel.placement.cost import block_costs
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.planning.bounds import least_ms
from gru_parallel.planning.cell_costs import CellTimes, CostModel, Workload
from gru_parallel.planning.cut import Fits, all_cuts, fastest_cut
from gru_parallel.planning.memory import MemoryModel
from gru_parallel.planning.options import Branch, Options, Setting
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.setting_costs import SettingCosts, separates
from gru_parallel.planning.shortage import memory_of
from gru_parallel.planning.stage_times import (
    each_block,
)

_UNEVEN = 0.9
"""What cuts may save of the memory of micro-batches, where blocks are not all alike or machines
share theirs, beyond what they do with blocks alike: settings that would not fit even so are not
tried. Assumed, not proved."""

MOST_CUTS = 24
"""Up to so many cuts of a setting, with devices of several kinds in every order, all are tried."""


@dataclass(frozen=True)
class Problem:
    """What is to be planned.

    Attributes:
        workload: what is trained.
        cluster: the devices that may be used, those of all replicas.
        costs: how long parts take.
        options: what may be chosen.
        replays: whether the engine records and replays the steps of a plan.
    """

    workload: Workload
    cluster: Cluster
    costs: CostModel
    options: Options
    replays: Callable[[Plan], bool] = lambda _: False

    @cached_property
    def _of_setting(self) -> SettingCosts:
        return SettingCosts(self.workload, self.cluster, self.costs, self.options)

    @property
    def n_blocks(self) -> int:
        """Blocks of the model."""
        return len(self.workload.model.blocks)

    @property
    def shares_memory(self) -> bool:
        """Whether the devices, the first of them at least, have no memory of their own."""
        return self.cluster.devices[0].shares_memory

    def effort_of_a_cut(self, setting: Setting) -> int:
        """What a cut takes, in actions that could be simulated instead.

        None where devices are alike, or every cut is tried.
        """
        counts = [len(group) + 1 for group in self._of_setting.by_kind(setting)]
        if len(counts) == 1 or self._every_cut(setting) is not None:
            return 0
        # By bisection over how many devices of each kind are used.
        return 10 * prod(counts) * self.n_blocks.bit_length()

    def of_one_kind(self) -> Iterator[Problem]:
        """Yield what is left of the problem with the devices of one kind alone."""
        kinds = list(dict.fromkeys(device.kind for device in self.cluster.devices))
        if len(kinds) == 1 or self.options.stages is not None or self.options.uses_all:
            return
        for kind in kinds:
            names = [device.name for device in self.cluster.devices if device.kind == kind]
            yield replace(self, cluster=self.cluster.only(names))

    def branches(self) -> list[Branch]:
        """List what may be chosen but for the cut, in branches, the simple ones first."""
        n_devices = len(self.cluster.devices)
        every = self.options.branches(n_devices, self.n_blocks)
        return [branch for branch in every if self._is_possible(branch.fewest)]

    def allows(self, setting: Setting) -> bool:
        """Whether a setting is in one of the `branches`."""
        n_devices = len(self.cluster.devices)
        is_there = self.options.allow(setting, n_devices, self.n_blocks)
        return is_there and self._is_possible(setting)

    def planned(self, plan: Plan) -> Planned:
        """Say what a plan comes to."""
        return Planned(plan, self.workload, self.cluster, self.costs, self.replays(plan))

    def least_ms(self, branch: Branch) -> float:
        """Return the least that a step can take with any setting of a branch, see `bounds`."""
        of_setting, setting = self._of_setting, branch.fewest
        once_ms = min(
            self.costs.step_ms(device, self._least_parameters(branch.most, device))
            for device in of_setting.kinds(setting)
        )
        if len(branch) == 1:
            # Whichever stage ends last, its replicas have its gradients to add up.
            least = min if setting.n_stages > 1 else sum
            once_ms += of_setting.exchange_ms(setting, least(self._parameters))
        works, slowness = of_setting.works(branch), of_setting.slowness(branch)
        return once_ms + least_ms(branch, works, slowness, of_setting.crossing(setting))

    def may_fit(self, branch: Branch) -> bool:
        """Whether there is room for weights, and for what every schedule keeps at the least.

        1F1B keeps as many micro-batches as there are stages from a stage to the last, and no
        schedule keeps fewer; so later stages have room for more of the model.
        """
        setting = branch.most
        kinds, room = self._of_setting.kinds(setting), self._room(setting)
        if len(kinds) > 1 or room is None:
            return True
        # More stages keep more, but where each has memory of its own there is more of it, too.
        n_stages = (branch.fewest if self.shares_memory else branch.most).n_stages
        n_parts = setting.grid.n_micro_batches
        fixed, activations = self._whole_bytes(setting)
        kept = [min(n_parts, n_stages - stage) / n_parts for stage in range(n_stages)]
        # All that a stage has to itself, as a share of what it would need for the whole model.
        shares = [room / n_stages / (fixed + activations * share) for share in kept]
        return sum(shares) >= (_UNEVEN if n_parts > 1 else 1.0)

    def plans(self, setting: Setting) -> tuple[list[Plan], bool]:
        """Cut the blocks for a setting.

        Returns:
            The cuts worth a simulation, and whether no other can be better.
        """
        if self.options.stages is not None:
            return [self._plan(setting, self.options.stages)], True
        every = self._every_cut(setting)
        if every is not None:
            are_all = self._of_setting.is_in_order(setting)
            orders = (False,) if are_all else (False, True)
            found = [self._placed(setting, *cut, order) for order in orders for cut in every]
            return list(dict.fromkeys(found)), are_all
        plans = [self._fastest(setting)]
        if setting.grid.n_micro_batches > 1 or separates(setting.grid.schedule):
            # Where B does not wait for all F, later stages may have less to do.
            works = self._of_setting.works(Branch.of(setting))
            n_cells = setting.grid.n_micro_batches * setting.grid.n_chunks
            plans.append(self._fastest(setting, ramp=works.ramp / n_cells))
        cuts = [plan for plan in plans if plan is not None]
        return list(dict.fromkeys(cuts)), False

    def fitting(self, lacking: Planned) -> Plan | None:
        """Cut the blocks so that each stage fits its device, as fast as that allows.

        Args:
            lacking: a plan that does not fit; its setting is kept.

        Returns:
            The plan; None where none fits, or the stages share the memory of their machine.
        """
        setting = lacking.setting
        kinds = self._of_setting.kinds(setting)
        rooms = [memory_of(self.cluster, [device]) for device in kinds]
        if self.options.stages is not None or None in rooms or kinds[0].is_cpu:
            return None
        # What single blocks need, added up, is a little more than what they need together.
        model, blocks = lacking.memory_model, range(self.n_blocks)
        needed = {
            cells: list(
                accumulate(
                    (model.stage(range(b, b + 1), *cells).total_bytes for b in blocks), initial=0
                )
            )
            for cells in set(lacking.kept_cells)
        }
        of_stages = [needed[cells] for cells in lacking.kept_cells]

        def fits(stage: int, kind: int, first: int, stop: int) -> bool:
            return of_stages[stage][stop] - of_stages[stage][first] <= (rooms[kind] or 0)

        return self._fastest(setting, fits)

    def _every_cut(self, setting: Setting) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
        """List the kinds of the stages' devices with the sizes of stages; None for too many."""
        counts = list(map(len, self._of_setting.by_kind(setting)))
        return all_cuts(self.n_blocks, counts, setting.n_stages, MOST_CUTS)

    def _is_possible(self, setting: Setting) -> bool:
        """Whether the cores have a W to run apart, where the schedule does, and rows suffice."""
        n_rows = self.workload.n_rows // setting.data_parallel
        if setting.grid.n_micro_batches > max(1, n_rows):
            return False
        cores = {core_on(device.name, setting.core) for device in self._of_setting.kinds(setting)}
        return not (separates(setting.grid.schedule) and "native" in cores)

    def _fastest(
        self, setting: Setting, fits: Fits | None = None, ramp: float = 0.0
    ) -> Plan | None:
        """Cut the blocks so that the slowest stage is as fast as can be."""
        of_setting, n_chunks = self._of_setting, setting.grid.n_chunks
        groups, size = of_setting.by_kind(setting), of_setting.size(setting)
        weights, around = [], []
        for device, *_ in groups:
            n_busy = of_setting.n_busy(setting, device)
            blocks = each_block(of_setting.blocks(setting, device, size, n_busy))
            weights.append([_step_of(block.whole.plus(block.last), setting) for block in blocks])
            cells = self.costs.around(device, n_busy).times(n_chunks)
            around.append(_step_of(cells, setting))
        counts = list(map(len, groups))
        cut = fastest_cut(weights, counts, setting.n_stages, around, fits, ramp)
        return None if cut is None else self._placed(setting, cut.kinds, cut.sizes)

    def _placed(
        self,
        setting: Setting,
        kinds: Sequence[int],
        sizes: Sequence[int],
        roomy_first: bool = False,
    ) -> Plan:
        """Give each stage a device of its kind: in the cluster's order, or by their memory."""
        groups = self._of_setting.by_kind(setting)
        if roomy_first:
            # The first stages keep most cells.
            groups = [sorted(group, key=lambda d: -(d.memory_bytes or 0)) for group in groups]
        free = [iter(group) for group in groups]
        starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
        names = [next(free[kind]).name for kind in kinds]
        return self._plan(setting, tuple(map(StagePlan, names, starts, sizes)))

    def _plan(self, setting: Setting, stages: tuple[StagePlan, ...]) -> Plan:
        n_layers = self.workload.model.blocks[-1].layers.stop
        return Plan(n_layers, setting.grid, stages, setting.core, setting.data_parallel)

    def _least_parameters(self, setting: Setting, device: Device) -> int:
        """How many parameters the optimiser of the largest stage has at least."""
        return sum(self._parameters) // (1 if device.is_cpu else setting.n_stages)

    @cached_property
    def _parameters(self) -> list[int]:
        return [cost.n_parameters for cost in block_costs(self.workload.model, 1, 1)]

    def _room(self, setting: Setting) -> int | None:
        """Return the memory of the devices of all stages; None where it is not known."""
        key = (setting.n_stages, setting.data_parallel)
        if key not in self._rooms_known:
            devices = self._of_setting.devices(setting)
            if self.options.stages is None and self._of_setting.is_in_order(setting):
                devices = devices[: setting.n_stages]
            self._rooms_known[key] = memory_of(self.cluster, devices)
        return self._rooms_known[key]

    def _whole_bytes(self, setting: Setting) -> tuple[int, int]:
        """What weights need, and what is kept of all cells if it is kept until B."""
        width, grid = setting.data_parallel, setting.grid
        key = ("bytes", setting.core, width)
        if key not in self._bytes_known:
            model = replace(self.workload.model, core=setting.core)
            devices = [self._of_setting.kinds(setting)[0].name] * self.n_blocks
            whole = MemoryModel(
                replace(self.workload, model=model), replace(grid, recompute="none"), devices, width
            )
            needed = whole.stage(range(self.n_blocks), grid.n_micro_batches * grid.n_chunks)
            self._bytes_known[key] = needed.fixed_bytes, needed.activation_bytes
        fixed, activations = self._bytes_known[key]
        return fixed, 0 if grid.recomputes or grid.truncate is not None else activations

    # What many settings have in common is worked out once.

    @cached_property
    def _bytes_known(self) -> dict[object, tuple[int, int]]:
        return {}

    @cached_property
    def _rooms_known(self) -> dict[object, int | None]:
        return {}


def _step_of(times: CellTimes, setting: Setting) -> float:
    """What a training step takes of what is timed, however it is divided into F, B and W."""
    again = times.forward_ms if setting.grid.recomputes else 0.0
    if separates(setting.grid.schedule):
        return times.forward_ms + again + times.backward_ms + times.weights_ms
    return times.forward_ms + again + times.joint_ms
