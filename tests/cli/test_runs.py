"""What a run leaves in its folder, and what settings do to it."""

import json
from itertools import product

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from gru_parallel.choices import ERRORS
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.placement import Plan
from gru_parallel.schedule import SCHEDULES
from tests.cli.in_process import (
    SMALL,
    RunCommand,
    assert_same_weights,
    checkpoint_of,
    look_at,
    losses_of,
    rows_of,
    summary_of,
)

N_STEPS = 6
TWO_STAGES = "placement.device_map=[0,0,1,1]"
WORSE_AND_WORSE = (*SMALL, "optimizer=sgd", "optimizer.lr=5")
"""A run whose best epoch is not its last."""


def test_the_config_of_a_run_is_resolved_and_makes_the_same_run_again(
    train_command: RunCommand,
) -> None:
    overrides = [*SMALL, "lr_scheduler=one_cycle", "optimizer.lr=0.01", "model.dropout=0.1"]
    overrides += ["trainer.max_epochs=1", "trainer.limit_val_batches=0"]
    overrides += ["trainer.limit_test_batches=0"]
    first = train_command(*overrides)

    text = (first.folder / "config.yaml").read_text()
    assert "${" not in text
    written = OmegaConf.create(text)
    assert written == OmegaConf.create(
        OmegaConf.to_container(compose_config(overrides), resolve=True)
    )
    assert written.lr_scheduler.max_lr == 0.01
    assert isinstance(written, DictConfig)
    assert read_config(written).model.dropout == 0.1
    assert losses_of(train_command(*overrides, run="again")) == losses_of(first)


def test_the_plan_of_a_run_is_the_one_that_the_plan_command_prints(
    train_command: RunCommand, plan_command: RunCommand
) -> None:
    overrides = [*SMALL, "placement.device_map={0-2: cpu:0, 3: cpu:1}", "schedule=gpipe"]
    overrides += ["trainer.max_epochs=1"]
    ended = train_command(*overrides)

    plan = Plan.from_json((ended.folder / "plan.json").read_text())

    assert [(stage.device, len(stage.blocks)) for stage in plan.stages] == [
        ("cpu:0", 3),
        ("cpu:1", 1),
    ]
    assert (plan.grid.schedule, plan.grid.n_micro_batches, plan.grid.n_chunks) == ("gpipe", 1, 4)
    # What the command prints besides says why the plan is as it is.
    table = plan_command(*overrides).out.partition("plans simulated")[0].rpartition("\n")[0]
    assert "cpu:1" in table
    assert table in ended.out


def test_metrics_csv_holds_each_loss_of_a_float32_run_exactly(train_command: RunCommand) -> None:
    ended = look_at(train_command, *SMALL, TWO_STAGES)
    rows = rows_of(ended)

    assert [row["step"] for row in rows] == [str(step + 1) for step in range(N_STEPS)]
    for row in rows:
        loss = float(row["train/loss"])
        assert float(np.float32(loss)) == loss
        assert repr(loss) == row["train/loss"]
    assert len(set(losses_of(ended))) == N_STEPS


def test_the_summary_says_what_the_run_came_to(train_command: RunCommand) -> None:
    ended = look_at(train_command, *SMALL, TWO_STAGES)

    summary = summary_of(ended)

    assert list(summary["test_metrics"]) == [*ERRORS]
    assert set(summary["baselines"]) == {"repeat_last", "seasonal_naive"}
    assert all(list(scores) == [*ERRORS] for scores in summary["baselines"].values())
    assert (summary["epochs"], summary["steps"]) == (2, N_STEPS)
    saved = checkpoint_of(ended)["state_dict"]
    assert summary["n_parameters"] == sum(weight.numel() for weight in saved.values())
    for name in ("step_ms", "samples_per_s", "predicted_bubble", "measured_bubble"):
        assert summary[name] > 0
    assert summary["best_checkpoint"] == str(ended.folder / "checkpoints" / "best.ckpt")
    assert summary["last_checkpoint"] == str(ended.folder / "checkpoints" / "last.ckpt")
    assert f"{summary['test_metrics']['mse']:.4f}" in ended.out
    assert ended.out.rstrip().endswith(f"Folder of the run: {ended.folder}")


def test_the_pictures_show_every_cell_of_every_stage(train_command: RunCommand) -> None:
    settings = [*SMALL, TWO_STAGES, "schedule.n_micro_batches=2"]
    settings += ["trainer.max_epochs=1"]
    ended = train_command(*settings, draws=True)

    trace = json.loads((ended.folder / "trace.json").read_text())

    names = {event["name"] for event in trace["traceEvents"]}
    cells = [f"{m}.{c}" for m in range(2) for c in range(4)]
    assert {f"{s}{op}{cell}" for s in range(2) for op in "FB" for cell in cells} <= names
    for picture in ("timeline.png", "forecast.png"):
        assert (ended.folder / picture).read_bytes().startswith(b"\x89PNG")


def test_the_last_checkpoint_is_the_last_one_even_where_it_is_not_the_best(
    train_command: RunCommand,
) -> None:
    ended = look_at(train_command, *WORSE_AND_WORSE, "trainer.max_epochs=3")

    assert checkpoint_of(ended, "last")["global_step"] == 9
    assert checkpoint_of(ended, "best")["global_step"] < 9


def test_the_test_metrics_are_those_of_the_best_checkpoint(train_command: RunCommand) -> None:
    long = look_at(train_command, *WORSE_AND_WORSE, "trainer.max_epochs=3")
    n_best = checkpoint_of(long, "best")["global_step"] // 3

    short = train_command(*WORSE_AND_WORSE, f"trainer.max_epochs={n_best}", run="short")

    assert summary_of(long)["test_metrics"] == summary_of(short)["test_metrics"]


MAPS = ("[0,0,1,1]", "{0: cpu:3, 1-3: cpu:1}", "[0,1,2,3]")
ORDINARY = (("one_f_one_b", MAPS[1]), ("zero_bubble", MAPS[2]))
"""A schedule of each kind, one that leaves W for later and one that does not."""


@pytest.mark.parametrize(
    ("schedule", "device_map"),
    [
        pytest.param(*case, marks=[] if case in ORDINARY else [pytest.mark.long])
        for case in product(SCHEDULES, MAPS)
    ],
)
def test_the_device_map_does_not_change_a_run(
    schedule: str, device_map: str, train_command: RunCommand
) -> None:
    settings = [
        *SMALL,
        f"schedule={schedule}",
        "schedule.n_micro_batches=2",
        "model.dropout=0.2",
        "trainer.gradient_clip_val=0.1",
        "trainer.accumulate_grad_batches=2",
        "trainer.max_epochs=1",
    ]
    one = train_command(*settings, "placement.device_map=[0,0,0,0]", run="one")
    several = train_command(*settings, f"placement.device_map={device_map}", run="several")

    assert len(losses_of(one)) == 2
    assert losses_of(several) == losses_of(one)
    assert_same_weights(several, one)
    assert summary_of(several)["test_metrics"] == summary_of(one)["test_metrics"]


def test_several_stages_on_one_device_are_the_same_run(train_command: RunCommand) -> None:
    device_map = "placement.device_map=[cpu,cpu,cpu,cpu]"
    settings = [*SMALL, device_map, "trainer.max_epochs=1", "trainer.limit_test_batches=0"]
    merged = train_command(*settings)
    apart = train_command(*settings, "placement.merge=false", run="apart")

    plan = Plan.from_json((apart.folder / "plan.json").read_text())
    assert plan.devices == ("cpu:0",) * 4
    assert losses_of(apart) == losses_of(merged)
    assert_same_weights(apart, merged)


def test_a_run_resumed_from_its_checkpoint_is_the_uninterrupted_one(
    train_command: RunCommand,
) -> None:
    settings = [*SMALL, "model.dropout=0.2", "trainer.limit_test_batches=0"]
    straight = train_command(*settings, "trainer.max_epochs=2")
    half = train_command(*settings, "trainer.max_epochs=1", run="half")
    checkpoint = half.folder / "checkpoints" / "last.ckpt"

    rest = train_command(
        *settings,
        "trainer.max_epochs=2",
        f"ckpt_path={checkpoint}",
        "placement.device_map=[0,1,2,3]",
        run="rest",
    )

    assert losses_of(half) + losses_of(rest) == losses_of(straight)
    assert rest.err == ""
    assert_same_weights(rest, straight)


def test_a_run_of_one_epoch_names_both_checkpoints_and_goes_on_in_its_own_folder(
    train_command: RunCommand,
) -> None:
    settings = [*SMALL, "trainer.limit_test_batches=0"]
    first = train_command(*settings, "trainer.max_epochs=1")
    checkpoints = first.folder / "checkpoints"
    checkpoint = checkpoints / "last.ckpt"
    assert summary_of(first)["best_checkpoint"] == str(checkpoints / "best.ckpt")
    assert summary_of(first)["last_checkpoint"] == str(checkpoint)

    for n_epochs in (1, 2):
        again = train_command(
            *settings, f"trainer.max_epochs={n_epochs}", f"ckpt_path={checkpoint}"
        )

        assert again.err == ""
        assert len(rows_of(again)) == 3 * n_epochs
        assert checkpoint_of(again)["global_step"] == 3 * n_epochs


def test_a_resumed_run_has_the_best_model_of_the_uninterrupted_one(
    train_command: RunCommand,
) -> None:
    settings = [*WORSE_AND_WORSE, "trainer.max_epochs=3"]
    straight = look_at(train_command, *settings)
    assert checkpoint_of(straight, "best")["global_step"] < 9
    first = train_command(*WORSE_AND_WORSE, "trainer.max_epochs=2", run="first")

    checkpoint = first.folder / "checkpoints" / "last.ckpt"
    rest = train_command(*settings, f"ckpt_path={checkpoint}", run="rest")

    assert summary_of(rest)["test_metrics"] == summary_of(straight)["test_metrics"]
    own = rest.folder / "checkpoints"
    assert summary_of(rest)["best_checkpoint"] == str(own / "best.ckpt")
    assert summary_of(rest)["last_checkpoint"] == str(own / "last.ckpt")
    assert_same_weights(rest, straight, "best")
