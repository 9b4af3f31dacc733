"""Devices by name."""

from importlib.metadata import PackageNotFoundError

import pytest
import torch

from gru_parallel.engine import devices
from gru_parallel.engine.torch_device import torch_device


def test_every_logical_cpu_device_is_torchs_one_cpu() -> None:
    assert torch_device("cpu:0") == torch_device("cpu:7") == torch.device("cpu")


def test_an_accelerator_keeps_its_index() -> None:
    assert torch_device("cuda:1") == torch.device("cuda", 1)


def test_eight_logical_cpu_devices_exist_even_where_cores_are_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "accelerator_names", lambda: ("cuda:0",))
    monkeypatch.setattr(devices, "n_cores", lambda: 2)

    assert devices.existing_devices() == ("cuda:0", *(f"cpu:{index}" for index in range(8)))


def test_as_many_logical_cpu_devices_exist_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "accelerator_names", lambda: ())
    monkeypatch.setattr(devices, "n_cores", lambda: 12)

    assert devices.existing_devices()[-1] == "cpu:11"


def test_by_default_a_run_uses_every_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "accelerator_names", lambda: ("cuda:0", "cuda:1"))

    assert devices.default_devices() == ("cuda:0", "cuda:1")


def test_by_default_a_run_without_accelerators_uses_every_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "accelerator_names", lambda: ())
    monkeypatch.setattr(devices, "n_cores", lambda: 3)

    assert devices.default_devices() == ("cpu:0", "cpu:1", "cpu:2")


def test_there_are_no_accelerators_where_torch_knows_of_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)

    assert devices.accelerator_names() == ()


@pytest.mark.parametrize(
    ("version", "plugins", "expected"),
    [
        ("2.13.0+cpu", [], True),
        ("2.13.0", [], False),
        ("2.13.0+cu130", [], False),
        ("2.13.0+cpu", ["npu"], False),
    ],
)
def test_torch_need_not_be_imported_where_its_version_tells_that_there_are_no_accelerators(
    version: str, plugins: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "version", lambda _: version)
    monkeypatch.setattr(devices, "entry_points", lambda **_: plugins)

    assert devices.is_cpu_build() is expected


def test_a_torch_that_no_package_brought_has_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(devices, "version", version)

    assert not devices.is_cpu_build()


def test_torch_agrees_that_a_cpu_build_has_no_accelerator() -> None:
    if devices.is_cpu_build():
        assert torch.accelerator.current_accelerator() is None
    assert not (devices.is_cpu_build() and (torch.version.cuda or torch.version.hip))


def test_accelerators_are_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("xpu"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)

    assert devices.accelerator_names() == ("xpu:0", "xpu:1")
