"""The commands on a GPU: used by itself, in every precision, and not needed to resume."""

import pytest

from gru_parallel.placement import Plan
from tests.cli.in_process import SMALL, RunCommand, losses_of

pytestmark = pytest.mark.gpu

ON_CPUS = "placement.device_map={0-1: cpu:0, 2-3: cpu:1}"
KIND = "cuda"


def test_a_run_uses_the_gpu_by_itself_and_resumes_on_cpus(train_command: RunCommand) -> None:
    ended = train_command(*SMALL)
    assert ended.status == 0, ended.err
    plan = Plan.from_json((ended.folder / "plan.json").read_text())
    assert {device.partition(":")[0] for device in plan.all_devices} == {KIND}

    checkpoint = f"ckpt_path={ended.folder / 'checkpoints' / 'last.ckpt'}"
    resumed = train_command(*SMALL, ON_CPUS, checkpoint, "trainer.max_epochs=3", run="resumed")

    assert resumed.status == 0, resumed.err


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_losses_are_about_those_of_cpus_in_every_precision(
    precision: str, train_command: RunCommand
) -> None:
    expected = [float(loss) for loss in losses_of(train_command(*SMALL, ON_CPUS))]

    ended = train_command(*SMALL, f"trainer.precision={precision}", run="on_gpu")

    assert ended.status == 0, ended.err
    # Eight bits of bfloat16, over a few steps.
    assert [float(loss) for loss in losses_of(ended)] == pytest.approx(expected, rel=0.05)
