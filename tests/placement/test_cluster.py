"""Devices and clusters."""

import math
from dataclasses import replace

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device, Link, Machine
from gru_parallel.placement.cluster import CPU_SPEED

CPUS = (Device("cpu:0", "cpu"), Device("cpu:1", "cpu"))
OVER_NVLINK, OVER_NETWORK = Link(0.01, 450e9), Link(0.02, 50e9)
TWO_MACHINES = Cluster(
    tuple(Device(f"cuda:{index}", "h100", machine=index // 2) for index in range(4)),
    (Machine(), Machine()),
    OVER_NVLINK,
    OVER_NETWORK,
)


@pytest.mark.parametrize(
    "wrong",
    [{"flops_per_s": 0.0}, {"bytes_per_s": math.nan}, {"cell_ms": -1.0}, {"step_ms": math.inf}],
    ids=str,
)
def test_a_speed_that_no_device_can_have_is_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong

    with pytest.raises(UsageError, match=f"{name}={wrong[name]}.* is not a speed"):
        replace(CPU_SPEED, **wrong)


@pytest.mark.parametrize("wrong", [(-1.0, 1e9), (math.inf, 1e9), (0.0, 0.0), (0.0, math.nan)])
def test_a_link_that_cannot_be_is_refused(wrong: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="is not a link"):
        Link(*wrong)


def test_a_result_takes_the_latency_of_its_link_and_the_time_of_its_bytes() -> None:
    assert Link(0.5, 2e9).ms(4e6) == pytest.approx(0.5 + 2.0)
    assert Link(0.5, math.inf).ms(4e6) == 0.5


@pytest.mark.parametrize("memory_bytes", [0, -5])
def test_memory_that_is_not_positive_is_refused(memory_bytes: int) -> None:
    with pytest.raises(UsageError, match=f"cuda:0 has memory_bytes={memory_bytes}, which is not"):
        Device("cuda:0", "h100", memory_bytes=memory_bytes)
    with pytest.raises(UsageError, match=f"a machine has memory_bytes={memory_bytes}"):
        Machine(memory_bytes=memory_bytes)


def test_a_machine_without_a_core_is_refused() -> None:
    with pytest.raises(UsageError, match="n_cores=0; give it at least one core"):
        Machine(n_cores=0)


def test_a_cluster_finds_its_devices_by_name() -> None:
    fast = Device("cuda:0", "h100")
    cluster = Cluster((CPUS[0], fast))

    assert cluster.device_names == ("cpu:0", "cuda:0")
    assert cluster.device("cuda:0") is fast
    assert [device.is_cpu for device in cluster.devices] == [True, False]


def test_an_unknown_device_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(UsageError, match="no device 'cuda:0'; it has cpu:0, cpu:1"):
        Cluster(CPUS).device("cuda:0")


def test_a_cluster_without_devices_is_refused() -> None:
    with pytest.raises(UsageError, match="the cluster has no device"):
        Cluster(())


def test_a_cluster_that_names_a_device_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="names cpu:0 more than once"):
        Cluster((*CPUS, CPUS[0]))


@pytest.mark.parametrize("machine", [-1, 1])
def test_a_device_in_a_machine_that_there_is_not_is_refused(machine: int) -> None:
    with pytest.raises(UsageError, match=f"cpu:0 is in machine {machine}, but the cluster has 1"):
        Cluster((Device("cpu:0", "cpu", machine=machine),))


def test_devices_of_one_kind_are_equally_fast() -> None:
    slow = Device("cpu:1", "cpu", speed=replace(CPU_SPEED, flops_per_s=1e9))

    with pytest.raises(UsageError, match="kind cpu have different speeds, cpu:1 another"):
        Cluster((CPUS[0], slow))
    assert Cluster((CPUS[0], replace(slow, kind="slow"))).devices[1].speed.flops_per_s == 1e9


def test_a_cluster_of_names_has_devices_as_fast_as_their_kinds() -> None:
    one, other, gpu = Cluster.of(["cpu:0", "cpu:1", "cuda:0"]).devices

    assert one.speed == other.speed == CPU_SPEED
    assert one.speed.flops_per_s < gpu.speed.flops_per_s


def test_devices_are_linked_within_their_machine_or_between_machines() -> None:
    one, neighbour, other, _ = TWO_MACHINES.devices

    assert TWO_MACHINES.link(one, neighbour) == OVER_NVLINK
    assert TWO_MACHINES.link(neighbour, other) == OVER_NETWORK
    assert TWO_MACHINES.link(other, one) == OVER_NETWORK


def test_what_a_device_hands_to_itself_does_not_cross_anything() -> None:
    one = TWO_MACHINES.devices[0]

    assert TWO_MACHINES.link(one, one).ms(1e12) == OVER_NVLINK.latency_ms


def test_a_cluster_may_be_cut_down_to_some_devices_in_an_order() -> None:
    some = TWO_MACHINES.only(["cuda:3", "cuda:0"])

    assert some.device_names == ("cuda:3", "cuda:0")
    assert some.link(*some.devices) == OVER_NETWORK
    with pytest.raises(UsageError, match="no device 'cpu:0'"):
        TWO_MACHINES.only(["cpu:0"])
