"""Clusters from conf/ and from a file of one's own, and what is wrong with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gru_parallel.config.cluster_section import DescribedCluster, LocalCluster
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError

Change = Callable[[dict[str, Any]], object]


def config_of(*overrides: str) -> Config:
    return read_config(compose_config(overrides))


def described(*overrides: str) -> DescribedCluster:
    cluster = config_of(*overrides).cluster
    assert isinstance(cluster, DescribedCluster)
    return cluster


def mixed() -> dict[str, Any]:
    """Two machines that have an h100 and two cards of another kind each, and a third with CPUs."""
    other = {"flops_per_s": 2e13, "bytes_per_s": 1e12, "cell_ms": 0.02, "step_ms": 0.01}
    return {
        "name": "mixed",
        "machines": [
            {
                "count": 2,
                "devices": [
                    {"count": 1, "kind": "h100", "memory_gib": 79},
                    {"count": 2, "kind": "mine", "memory_gib": 40.5, **other},
                ],
            },
            {"n_cores": 8, "memory_gib": 64, "devices": [{"kind": "cpu", "count": 4}]},
        ],
        "inside": {"latency_us": 10, "gigabytes_per_s": 100},
        "between": {"latency_us": 30, "gigabytes_per_s": 12.5},
    }


def write(folder: Path, settings: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(settings))
    return f"cluster.path={path}"


def test_a_cluster_is_that_of_this_machine_unless_another_is_chosen() -> None:
    assert config_of().cluster == LocalCluster("local")


def test_a_described_cluster_has_typed_machines_devices_and_links() -> None:
    cluster = described("cluster=2x8xh100")

    (machines,) = cluster.machines
    (devices,) = machines.devices
    assert (machines.count, devices.count, devices.kind, devices.memory_gib) == (2, 8, "h100", 79.0)
    assert (cluster.inside.gigabytes_per_s, cluster.between.gigabytes_per_s) == (450.0, 50.0)


def test_a_setting_of_a_described_cluster_may_be_changed() -> None:
    assert described("cluster=8xh100", "cluster.inside.latency_us=7").inside.latency_us == 7.0


def test_a_file_has_the_keys_of_the_others(tmp_path: Path) -> None:
    cluster = described("cluster=file", write(tmp_path, mixed()))

    assert cluster.name == "mixed"
    cards, cpus = cluster.machines
    assert [devices.kind for devices in cards.devices] == ["h100", "mine"]
    assert cards.devices[1].step_ms == 0.01
    assert (cpus.count, cpus.n_cores, cpus.memory_gib) == (1, 8, 64.0)


def test_the_files_of_conf_may_be_copied(tmp_path: Path) -> None:
    original = Path(__file__).parents[2] / "conf" / "cluster" / "8xh100.yaml"
    copy = tmp_path / "mine.yaml"
    copy.write_text(original.read_text())

    assert described("cluster=file", f"cluster.path={copy}") == described("cluster=8xh100")


WRONG: dict[str, tuple[Change, str]] = {
    "a mistyped key of the file": (
        lambda c: c.update(machine=[]),
        r"cluster\.machine is not a setting of cluster; did you mean cluster\.machines\?",
    ),
    "a mistyped key of a machine": (
        lambda c: c["machines"][0].update(n_core=4),
        r"cluster\.machines\[0\]\.n_core is not .* did you mean cluster\.machines\[0\]\.n_cores\?",
    ),
    "a mistyped key of a device": (
        lambda c: c["machines"][0]["devices"][1].update(memory_gb=40),
        r"machines\[0\]\.devices\[1\]\.memory_gb is not .*\.devices\[1\]\.memory_gib\?",
    ),
    "no device": (
        lambda c: c["machines"][1].update(devices=[]),
        r"cluster\.machines\[1\]\.devices=\[\] is empty",
    ),
    "no machine": (lambda c: c.update(machines=[]), r"cluster\.machines=\[\] is empty"),
    "a number for a machine": (
        lambda c: c.update(machines=[8]),
        r"cluster\.machines\[0\]=8 is not a mapping",
    ),
    "no kind": (
        lambda c: c["machines"][0]["devices"][0].pop("kind"),
        r"cluster\.machines\[0\]\.devices\[0\]\.kind is not given",
    ),
    "no machines at all": (lambda c: c.pop("machines"), r"cluster\.machines is not given"),
    "zero devices": (
        lambda c: c["machines"][0]["devices"][0].update(count=0),
        r"devices\[0\]\.count=0 is not positive",
    ),
    "no memory": (
        lambda c: c["machines"][0]["devices"][0].update(memory_gib=0),
        r"devices\[0\]\.memory_gib=0.0 is not positive; use a number above 0",
    ),
    "a word for the memory": (
        lambda c: c["machines"][0]["devices"][0].update(memory_gib="much"),
        r"devices\[0\]\.memory_gib=much has the wrong type; give a number",
    ),
    "memory of a CPU device": (
        lambda c: c["machines"][1]["devices"][0].update(memory_gib=8),
        r"machines\[1\]\.devices\[0\]\.memory_gib=8.0 is given to CPU devices, which share",
    ),
    "an unknown kind": (
        lambda c: c["machines"][0]["devices"][0].update(kind="h10"),
        r"kind=h10 is of no known speed; did you mean h100\? .* give flops_per_s, bytes_per_s,",
    ),
    "half a speed": (
        lambda c: c["machines"][0]["devices"][1].pop("step_ms"),
        r"kind=mine is of no known speed; .* give step_ms, too",
    ),
    "no link inside": (
        lambda c: c.pop("inside"),
        r"cluster\.inside is not given, and there are several accelerators of one machine",
    ),
    "no link between": (
        lambda c: c.update(between=None),
        r"cluster\.between is not given, and there are several machines",
    ),
    "a link of no speed": (
        lambda c: c["between"].update(gigabytes_per_s=0),
        r"cluster\.between\.gigabytes_per_s=0.0 is not positive",
    ),
    "the name of this machine": (
        lambda c: c.update(name="local"),
        r"cluster\.name=local stands for the devices of this machine",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_work_is_refused_by_its_name(case: str, tmp_path: Path) -> None:
    change, message = WRONG[case]
    settings = mixed()
    change(settings)

    with pytest.raises(UsageError, match=message) as caught:
        config_of("cluster=file", write(tmp_path, settings))

    assert str(caught.value).startswith(f"cluster.path={tmp_path / 'mine.yaml'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "it holds no settings"),
        ("", r"cluster\.machines, cluster\.name are not given"),
        ("a: 1\na: 2\n", "has the key a twice"),
        ("a: [\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)

    with pytest.raises(UsageError, match=message):
        config_of("cluster=file", f"cluster.path={path}")


def test_a_file_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file to be read \(No such file or directory\)"):
        config_of("cluster=file", f"cluster.path={tmp_path / 'none.yaml'}")
    with pytest.raises(UsageError, match=r"no file to be read \(Is a directory\)"):
        config_of("cluster=file", f"cluster.path={tmp_path}")


def test_a_file_has_to_be_named() -> None:
    with pytest.raises(UsageError, match=r"cluster\.path is not given"):
        config_of("cluster=file")
