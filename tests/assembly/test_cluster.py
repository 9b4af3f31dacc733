"""The devices that a run may use: those here, or those that are described."""

from pathlib import Path

import pytest
import yaml

from gru_parallel.assembly import cluster as module
from gru_parallel.assembly.cluster import (
    BETWEEN_RANKS_ON_CPUS,
    cluster_of,
    described_cluster,
    local_cluster,
)
from gru_parallel.assembly.planned import build_plan
from gru_parallel.config.cluster_section import DescribedCluster
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.data.widths import Widths
from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Link
from gru_parallel.placement.cards import SPEEDS
from gru_parallel.placement.cluster import (
    ACCELERATOR_SPEED,
    CPU_SPEED,
    IN_ONE_MEMORY,
    OVER_PCIE,
)

GIB = 2**30


def config_of(*overrides: str) -> Config:
    return read_config(compose_config(overrides))


def described(*overrides: str) -> Cluster:
    config = config_of(*overrides).cluster
    assert isinstance(config, DescribedCluster)
    return described_cluster(config)


@pytest.fixture
def without_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "accelerator_names", lambda: ())
    monkeypatch.setattr(module, "default_devices", lambda: ("cpu:0", "cpu:1", "cpu:2"))
    monkeypatch.setattr(module, "devices_of_ranks", lambda n: tuple(f"cpu:{i}" for i in range(n)))
    monkeypatch.setattr(module, "memory_bytes", lambda: 5 * GIB)
    monkeypatch.setattr(module, "n_cores", lambda: 3)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an H100 and a card that nobody knows."""
    cards = [("NVIDIA H100 80GB HBM3", 79 * GIB), ("Somebody's card", 16 * GIB)]
    names = ("cuda:0", "cuda:1")
    monkeypatch.setattr(module, "accelerator_names", lambda: names)
    monkeypatch.setattr(module, "default_devices", lambda: names)
    monkeypatch.setattr(module, "devices_of_ranks", lambda n: tuple(f"cuda:{i}" for i in range(n)))
    monkeypatch.setattr(module, "card", lambda _, index: cards[index])


@pytest.mark.usefixtures("without_cards")
def test_the_cpu_devices_of_this_machine_share_its_memory_and_cores() -> None:
    cluster = cluster_of(config_of())

    assert cluster.is_local
    assert cluster.device_names == ("cpu:0", "cpu:1", "cpu:2")
    (machine,) = cluster.machines
    assert (machine.n_cores, machine.memory_bytes) == (3, 5 * GIB)
    assert {(device.memory_bytes, device.speed) for device in cluster.devices} == {
        (None, CPU_SPEED)
    }
    assert cluster.inside == IN_ONE_MEMORY


@pytest.mark.usefixtures("without_cards")
def test_ranks_have_a_device_each_and_a_slower_link() -> None:
    cluster = cluster_of(config_of(), n_ranks=2)

    assert cluster.device_names == ("cpu:0", "cpu:1")
    assert cluster.inside.latency_ms > IN_ONE_MEMORY.latency_ms
    assert cluster.inside.ms(1e9) > 1


@pytest.mark.usefixtures("two_cards")
def test_a_card_has_its_memory_and_the_speed_of_its_kind() -> None:
    known, unknown = cluster_of(config_of()).devices

    assert (known.kind, known.memory_bytes, known.speed) == ("h100", 79 * GIB, SPEEDS["h100"])
    assert (unknown.kind, unknown.memory_bytes) == ("Somebody's card", 16 * GIB)
    assert unknown.speed == ACCELERATOR_SPEED


@pytest.mark.usefixtures("two_cards")
def test_ranks_of_several_machines_are_assumed_to_have_cards_like_those_here() -> None:
    kinds = [device.kind for device in cluster_of(config_of(), n_ranks=4).devices]

    assert kinds == ["h100", "Somebody's card"] * 2


@pytest.mark.usefixtures("two_cards")
def test_a_device_that_is_not_here_is_as_its_kind_usually_is() -> None:
    cpu, elsewhere = local_cluster(["cpu:7", "cuda:6"]).devices

    assert (cpu.kind, cpu.speed) == ("cpu", CPU_SPEED)
    assert (elsewhere.kind, elsewhere.memory_bytes) == ("cuda", None)
    assert elsewhere.speed == ACCELERATOR_SPEED


@pytest.mark.parametrize(
    ("name", "n_machines", "n_each", "kind", "inside", "between"),
    [
        ("8xh100", 1, 8, "h100", Link(0.01, 450e9), IN_ONE_MEMORY),
        ("2x8xh100", 2, 8, "h100", Link(0.01, 450e9), Link(0.02, 50e9)),
        ("4xa100", 1, 4, "a100", Link(0.01, 300e9), IN_ONE_MEMORY),
    ],
)
def test_the_clusters_of_conf_are_what_their_names_say(
    name: str, n_machines: int, n_each: int, kind: str, inside: Link, between: Link
) -> None:
    cluster = described(f"cluster={name}")

    assert cluster.name == name
    assert not cluster.is_local
    assert cluster.device_names == tuple(f"cuda:{index}" for index in range(n_machines * n_each))
    assert [device.machine for device in cluster.devices] == [
        machine for machine in range(n_machines) for _ in range(n_each)
    ]
    assert len(cluster.machines) == n_machines
    assert {(d.kind, d.memory_bytes, d.speed) for d in cluster.devices} == {
        (kind, 79 * GIB, SPEEDS[kind])
    }
    assert cluster.inside == inside
    assert cluster.between == between


def test_a_file_may_have_unequal_devices_and_speeds_of_its_own(in_tmp_path: Path) -> None:
    speed = {"flops_per_s": 1e13, "bytes_per_s": 1e12, "cell_ms": 0.03, "step_ms": 0.02}
    machines = [
        {
            "count": 2,
            "devices": [
                {"kind": "h100", "memory_gib": 79, "bytes_per_s": 3e12},
                {"kind": "old", "memory_gib": 15.5, **speed},
            ],
        },
        {"n_cores": 4, "memory_gib": 32, "devices": [{"kind": "cpu", "count": 2}]},
    ]
    link = {"latency_us": 5, "gigabytes_per_s": 25}
    settings = {"name": "mine", "machines": machines, "inside": link, "between": link}
    (in_tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))

    cluster = described("cluster=file", "cluster.path=mine.yaml")

    assert cluster.device_names == ("cuda:0", "cuda:1", "cuda:2", "cuda:3", "cpu:0", "cpu:1")
    assert [device.machine for device in cluster.devices] == [0, 0, 1, 1, 2, 2]
    first, old, *_, cpu = cluster.devices
    assert first.speed.bytes_per_s == 3e12
    assert first.speed.flops_per_s == SPEEDS["h100"].flops_per_s
    assert (old.memory_bytes, old.speed.step_ms) == (15.5 * GIB, 0.02)
    assert (cpu.memory_bytes, cluster.machines[2].memory_bytes) == (None, 32 * GIB)
    assert cluster.inside == Link(0.005, 25e9)


@pytest.mark.usefixtures("without_cards")
def test_training_on_a_described_cluster_needs_its_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "existing_devices", lambda: ("cpu:0", "cpu:1"))
    config = config_of("cluster=4xa100")

    assert len(cluster_of(config).devices) == 4
    with pytest.raises(UsageError, match="4xa100 has cuda:0 and 3 more, and this machine has cpu:"):
        cluster_of(config, check_exists=True)
    here = tuple(f"cuda:{index}" for index in range(4))
    monkeypatch.setattr(module, "existing_devices", lambda: here)
    assert cluster_of(config, check_exists=True).device_names == here


def test_ranks_are_as_many_as_the_devices_of_a_described_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = tuple(f"cuda:{index}" for index in range(16))
    monkeypatch.setattr(module, "existing_devices_of_ranks", lambda n: names[:n])
    config = config_of("cluster=2x8xh100")

    assert cluster_of(config, n_ranks=16, check_exists=True).device_names == names
    with pytest.raises(UsageError, match="has 16 devices, and 8 ranks were started; start one"):
        cluster_of(config, n_ranks=8, check_exists=True)


def test_cpu_devices_of_a_description_are_linked_as_threads_or_ranks_are(
    in_tmp_path: Path,
) -> None:
    cpus = {"devices": [{"kind": "cpu", "count": 2}, {"kind": "h100", "count": 1}]}
    (in_tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "machines": [cpus]}))
    settings = ("cluster=file", "cluster.path=mine.yaml")

    threads = cluster_of(config_of(*settings))
    ranks = cluster_of(config_of(*settings, "engine=processes"))

    one, other, card = threads.devices
    assert threads.link(one, other) == IN_ONE_MEMORY
    assert ranks.link(one, other) == BETWEEN_RANKS_ON_CPUS
    assert threads.link(one, card) == threads.link(card, one) == OVER_PCIE


def test_unequal_devices_and_cpus_beside_them_are_planned_for(in_tmp_path: Path) -> None:
    cards = [
        {"kind": "h100", "count": 1, "memory_gib": 79},
        {"kind": "a100", "count": 1, "memory_gib": 79},
    ]
    cpus = {"n_cores": 2, "memory_gib": 8, "devices": [{"kind": "cpu", "count": 2}]}
    link = {"latency_us": 5, "gigabytes_per_s": 25}
    settings = {
        "name": "mine",
        "machines": [{"devices": cards}, cpus],
        "inside": link,
        "between": link,
    }
    (in_tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    sizes = ("model.num_layers=6", "model.hidden_size=512", "data.input_length=64")

    config = config_of("cluster=file", "cluster.path=mine.yaml", *sizes, "schedule=gpipe")
    plan = build_plan(config, Widths(8, 8), check_exists=False).planned.plan

    by_device = {stage.device: stage.n_blocks for stage in plan.stages}
    # The faster card has more of the work, and CPUs would only hold it up.
    assert set(by_device) == {"cuda:0", "cuda:1"}
    assert by_device["cuda:0"] > by_device["cuda:1"]
