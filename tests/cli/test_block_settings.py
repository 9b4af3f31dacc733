"""Kinds of blocks, lengths and cuts of gradients, from the command line."""

import numpy as np
import pandas as pd
import pytest

from gru_parallel.placement import Plan
from tests.cli.in_process import (
    SMALL,
    RunCommand,
    assert_same_weights,
    checkpoint_of,
    losses_of,
    summary_of,
)

STREAMS = [
    "data.order=streams",
    "data.stride=8",
    "data.centre=none",
    "data.batch_size=4",
    "data.n_steps=160",
]
SETTINGS = {
    "bidirectional": ["model.bidirectional=true"],
    "bidirectional in the middle": ["model.bidirectional=[false,true,false,false]"],
    "learned": ["model.h_0=learned"],
    "previous": ["model.h_0=[zeros,previous,zeros,previous]"],
    "previous in the last block": ["model.h_0=[zeros,zeros,zeros,previous]"],
    "carried": ["model.h_0=carry", *STREAMS],
    "truncated": ["schedule.truncate=1", "model.head=every_step", "data.centre=none"],
    "recomputed": ["schedule.recompute=cell", "model.head=every_step", "data.centre=none"],
    "SegRNN": [
        "model.encoder=segments",
        "model.segment_length=2",
        "model.per_channel=true",
        "model.head=decoder",
        "data.horizon=3",
        "schedule.n_chunks=2",
    ],
    "short windows": ["data.min_input_length=3"],
    "residuals, norms, standardised windows, decay": [
        "model.residual=true",
        "model.norm=layer",
        "data.centre=standardize",
        "optimizer.weight_decay_on=feedforward",
        "trainer.gradient_clip_val=0.1",
    ],
}


TOGETHER = [
    ["bidirectional", "learned", "residuals, norms, standardised windows, decay"],
    ["bidirectional in the middle", "previous in the last block"],
    ["carried", "short windows"],
    ["truncated", "recomputed"],
    ["SegRNN"],
]
"""What a run can have at once."""


@pytest.mark.parametrize(
    "names",
    [
        *TOGETHER,
        *(pytest.param([name], marks=pytest.mark.long) for name in SETTINGS if name != "SegRNN"),
    ],
    ids="; ".join,
)
def test_a_run_ends_well_and_is_the_same_on_every_device_map(
    names: list[str], train_command: RunCommand
) -> None:
    options = ["model.dropout=0.1", "schedule.n_micro_batches=2", "trainer.max_epochs=1"]
    settings = dict.fromkeys(setting for name in names for setting in SETTINGS[name])
    overrides = [*SMALL, *settings, *options]
    one = train_command(*overrides, "placement.device_map=[0,0,0,0]")
    two = train_command(*overrides, "placement.device_map=[0,0,1,1]", run="two")

    assert losses_of(one) == losses_of(two)
    assert_same_weights(one, two)
    assert summary_of(one)["test_metrics"] == summary_of(two)["test_metrics"]


def test_bidirectional_blocks_run_on_two_devices_and_the_plan_says_so(
    train_command: RunCommand, plan_command: RunCommand
) -> None:
    overrides = [*SMALL, "model.bidirectional=true", "trainer.max_steps=2"]
    overrides += ["trainer.limit_test_batches=0", "trainer.limit_val_batches=0"]
    pairs = "placement.device_map=[cpu:0+cpu:1,cpu:0+cpu:1,cpu:2+cpu:3,cpu:2+cpu:3]"
    two = train_command(*overrides, pairs)
    one = train_command(*overrides, "placement.device_map=[0,0,1,1]", run="one")

    assert losses_of(two) == losses_of(one)
    assert "cpu:0+cpu:1" in two.out
    plan = Plan.from_json((two.folder / "plan.json").read_text())
    assert plan.stages[1].reverse_device == "cpu:3"
    table = plan_command(*overrides, pairs).out
    assert "barriers in time (whole windows only): stages 0, 1" in table


def test_a_checkpoint_keeps_the_states_that_are_carried(train_command: RunCommand) -> None:
    overrides = [*SMALL, "model.h_0=carry", *STREAMS, "trainer.limit_test_batches=0"]
    whole = train_command(*overrides)
    short = train_command(*overrides, "trainer.max_epochs=1", run="short")

    last = short.folder / "checkpoints" / "last.ckpt"
    resumed = train_command(*overrides, f"ckpt_path={last}", run="resumed")

    assert checkpoint_of(short)["carried"]["training"].any()
    n_new = len(losses_of(resumed))
    assert losses_of(whole)[-n_new:] == losses_of(resumed)
    assert_same_weights(resumed, whole)


def test_a_long_table_of_several_series_trains(train_command: RunCommand) -> None:
    lengths = {"a": 90, "b": 60, "c": 75}
    frames = [
        pd.DataFrame(
            {
                "id": name,
                "date": pd.date_range("2026-01-01", periods=length, freq="h"),
                "load": np.sin(np.arange(length) / (3 + index)),
            }
        )
        for index, (name, length) in enumerate(lengths.items())
    ]
    pd.concat(frames).to_csv("long.csv", index=False)

    ended = train_command(
        "data=csv",
        "data.path=long.csv",
        "data.series_column=id",
        "data.season_length=null",
        "data.min_input_length=2",
        *(text for text in SMALL if not text.startswith(("data.n_steps", "data.n_channels"))),
        "trainer.max_epochs=1",
    )

    assert ended.status == 0, ended.err
    assert summary_of(ended)["test_metrics"]["mse"] > 0
