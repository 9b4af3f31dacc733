"""Reads what a cluster is made of: its machines, their devices and its links; also from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from gru_parallel.choices import CLUSTER_HERE, hint
from gru_parallel.config.cluster_section import (
    ClusterFile,
    DescribedCluster,
    DevicesConfig,
    LinkConfig,
    LocalCluster,
    MachinesConfig,
)
from gru_parallel.config.mappings import check_file
from gru_parallel.config.read_section import read_section
from gru_parallel.errors import UsageError
from gru_parallel.placement.cards import SPEEDS
from gru_parallel.rules import as_written

Part = TypeVar("Part", DevicesConfig, LinkConfig, MachinesConfig)


def read_cluster(cluster: LocalCluster) -> LocalCluster:
    """Read the parts of a cluster, from a file where it is in one.

    Raises:
        UsageError: the file cannot be read, or a part has another key, a wrong value, or not all
            that it needs.
    """
    if isinstance(cluster, ClusterFile):
        path = Path(cluster.path).expanduser()
        try:
            return _read_parts(_read_file(path))
        except UsageError as error:
            raise UsageError(f"cluster.path={path}: {error}") from error
    return _read_parts(cluster) if isinstance(cluster, DescribedCluster) else cluster


def _read_file(path: Path) -> DescribedCluster:
    try:
        check_file(path)
        loaded = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"there is no file to be read ({reason}); give a yaml file with the keys of"
            " conf/cluster/8xh100.yaml."
        ) from error
    if not isinstance(loaded, DictConfig):
        raise UsageError("it holds no settings; give those of conf/cluster/8xh100.yaml.")
    cluster = read_section("cluster", DescribedCluster, loaded)
    if cluster.name == CLUSTER_HERE:
        raise UsageError(
            f"cluster.name={cluster.name} stands for the devices of this machine; choose another."
        )
    return cluster


def _read_parts(cluster: DescribedCluster) -> DescribedCluster:
    machines = [
        _read_machines(f"cluster.machines[{index}]", given)
        for index, given in enumerate(_entries("cluster.machines", cluster.machines))
    ]
    needed = {
        # CPU devices hand a tensor over by its address.
        "inside": any(
            sum(devices.count for devices in entry.devices if devices.kind != "cpu") > 1
            for entry in machines
        ),
        "between": sum(entry.count for entry in machines) > 1,
    }
    inside, between = (_read_link(name, getattr(cluster, name), needed[name]) for name in needed)
    return replace(cluster, machines=machines, inside=inside, between=between)


def _read_link(name: str, given: Any, is_needed: bool) -> LinkConfig | None:
    if given is not None:
        return _read_part(f"cluster.{name}", LinkConfig, given)
    if is_needed:
        what = "accelerators of one machine" if name == "inside" else "machines"
        raise UsageError(
            f"cluster.{name} is not given, and there are several {what}; give the latency_us and"
            " the gigabytes_per_s of what connects them."
        )
    return None


def _read_machines(name: str, given: Any) -> MachinesConfig:
    machines = _read_part(name, MachinesConfig, given)
    devices = [
        _read_devices(f"{name}.devices[{index}]", devices)
        for index, devices in enumerate(_entries(f"{name}.devices", machines.devices))
    ]
    return replace(machines, devices=devices)


def _read_devices(name: str, given: Any) -> DevicesConfig:
    devices = _read_part(name, DevicesConfig, given)
    if devices.kind == "cpu" and devices.memory_gib is not None:
        raise UsageError(
            f"{name}.memory_gib={devices.memory_gib} is given to CPU devices, which share the"
            " memory of their machine; give memory_gib to the machine."
        )
    speed = ("flops_per_s", "bytes_per_s", "cell_ms", "step_ms")
    missing = [key for key in speed if getattr(devices, key) is None]
    if devices.kind not in SPEEDS and missing:
        raise UsageError(
            f"{name}.kind={devices.kind} is of no known speed; {hint(devices.kind, SPEEDS)} For"
            f" another kind, give {', '.join(missing)}, too."
        )
    return devices


def _entries(name: str, given: Any) -> list[Any]:
    if not given:
        raise UsageError(f"{name}={as_written(given)} is empty; give at least one entry.")
    entries: list[Any] = given
    return entries


def _read_part(name: str, schema: type[Part], given: Any) -> Part:
    if not isinstance(given, dict):
        raise UsageError(
            f"{name}={as_written(given)} is not a mapping; give it as in conf/cluster/8xh100.yaml."
        )
    return read_section(name, schema, DictConfig(given))
