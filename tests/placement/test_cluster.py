"""Devices and clusters."""

import math

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device


def test_a_device_of_two_gigaflops_a_second_does_a_megaflop_in_half_a_millisecond() -> None:
    assert Device("cpu:0", flops_per_s=2e9).compute_ms(1e6) == pytest.approx(0.5)


@pytest.mark.parametrize("flops_per_s", [0.0, -1.0, math.nan])
def test_a_device_without_speed_is_refused(flops_per_s: float) -> None:
    with pytest.raises(UsageError, match=f"flops_per_s={flops_per_s} of cpu:0 is not positive"):
        Device("cpu:0", flops_per_s)


def test_a_cluster_finds_its_devices_by_name() -> None:
    slow, fast = Device("cpu:0", 1e9), Device("cuda:0", 1e12)
    cluster = Cluster((slow, fast))

    assert cluster.device_names == ("cpu:0", "cuda:0")
    assert cluster.device("cuda:0") is fast


def test_an_unknown_device_is_refused_with_the_known_ones_named() -> None:
    cluster = Cluster((Device("cpu:0", 1e9), Device("cpu:1", 1e9)))

    with pytest.raises(UsageError, match="no device 'cuda:0'; it has cpu:0, cpu:1"):
        cluster.device("cuda:0")


def test_a_cluster_without_devices_is_refused() -> None:
    with pytest.raises(UsageError, match="the cluster has no device"):
        Cluster(())


def test_a_cluster_that_names_a_device_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="names cpu:0 more than once"):
        Cluster((Device("cpu:0", 1e9), Device("cpu:0", 2e9)))


def test_a_cluster_of_names_has_devices_as_fast_as_their_kinds() -> None:
    one, other, gpu = Cluster.of(["cpu:0", "cpu:1", "cuda:0"]).devices

    assert one.flops_per_s == other.flops_per_s < gpu.flops_per_s
