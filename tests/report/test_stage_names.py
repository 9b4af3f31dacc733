"""Names of stages."""

import pytest

from gru_parallel.report.stage_names import stage_names


def test_a_stage_is_named_with_its_device() -> None:
    assert stage_names(2, ["cuda:0", "cpu:1"]) == ("stage 0 (cuda:0)", "stage 1 (cpu:1)")


@pytest.mark.parametrize("device_names", [[], ["cpu:0"], ["cpu:0", "cpu:1", "cpu:2"]])
def test_each_stage_needs_one_device(device_names: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{len(device_names)} device names for 2 stages"):
        stage_names(2, device_names)
