"""The training runs whose bits `fingerprints` compares, each by its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SMALL = (
    "data.n_steps=260",
    "data.n_channels=4",
    "data.input_length=8",
    "data.horizon=2",
    "data.batch_size=64",
    "model.hidden_size=8",
    "schedule.n_chunks=4",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
)
"""Six steps: 182 training rows make 173 windows, in batches of 64, 64 and 45."""

TWO_STAGES = "placement.device_map=[0,0,1,1]"
TWO_MICRO_BATCHES = "schedule.n_micro_batches=2"
STREAMS = ("data.order=streams", "data.stride=8", "data.centre=none", "data.batch_size=4")


@dataclass(frozen=True)
class TrainingRun:
    """A run of `python -m gru_parallel.train`.

    Attributes:
        overrides: of the command line.
        n_ranks: processes under torchrun; 1 for the command alone.
    """

    overrides: tuple[str, ...]
    n_ranks: int = 1


def _run(*overrides: str, n_ranks: int = 1) -> TrainingRun:
    return TrainingRun((*SMALL, TWO_STAGES, *overrides), n_ranks)


RUNS: Mapping[str, TrainingRun] = {
    "naive": _run("schedule=naive", TWO_MICRO_BATCHES),
    "gpipe": _run("schedule=gpipe", TWO_MICRO_BATCHES),
    "one_f_one_b": _run("schedule=one_f_one_b", TWO_MICRO_BATCHES),
    "one stage": _run("placement.device_map=[0,0,0,0]"),
    "dropout": _run("model.dropout=0.2", TWO_MICRO_BATCHES),
    "unequal lengths": _run("data.min_input_length=3", TWO_MICRO_BATCHES),
    "truncated": _run("schedule.truncate=1", "model.head=every_step", "data.centre=none"),
    "bidirectional": _run(
        "model.bidirectional=[false,true,false,true]", "placement.device_map=[0,0,1,2+3]"
    ),
    "h_0 carried": _run("model.h_0=carry", *STREAMS),
    "h_0 previous": _run("model.h_0=[zeros,previous,zeros,previous]"),
    "h_0 learned": _run("model.h_0=learned"),
    "clipped": _run("trainer.gradient_clip_val=0.1", "optimizer=sgd"),
    "accumulated": _run("trainer.accumulate_grad_batches=2", "lr_scheduler=one_cycle"),
    "blocks of two layers": _run("model.layers_per_block=2", "placement.device_map=[0,1]"),
    "float64": _run("trainer.precision=64-true"),
    "bfloat16": _run("trainer.precision=bf16-mixed"),
    "two ranks": _run(
        "engine=processes",
        "model.dropout=0.2",
        "trainer.gradient_clip_val=0.1",
        TWO_MICRO_BATCHES,
        n_ranks=2,
    ),
    "two replicas": _run(
        "engine=processes",
        "engine.data_parallel=2",
        "placement.device_map=[0,0,0,0]",
        n_ranks=2,
    ),
}
