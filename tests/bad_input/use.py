"""Wrong settings for the commands that use a finished run: their own, and those of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import cycle
from typing import Any, get_type_hints

from gru_parallel.app.backtest_settings import BacktestSettings
from gru_parallel.app.evaluate_settings import EvaluateSettings
from gru_parallel.app.export_settings import ExportSettings
from gru_parallel.app.predict_settings import PredictSettings
from gru_parallel.config.override_run import FIXED_DATA, FREE_IN_MODEL
from gru_parallel.config.schema import FREE_SECTIONS, SCHEMAS
from tests.bad_input.settings import own_settings, wrong
from tests.bad_input.tries import Try

SCHEMA_OF: dict[str, type[Any]] = {
    "evaluate": EvaluateSettings,
    "predict": PredictSettings,
    "backtest": BacktestSettings,
    "export": ExportSettings,
}
"""The commands, each with the schema of its own settings."""

_RUN = "run=run"
_START = dict.fromkeys(SCHEMA_OF, (_RUN,)) | {"export": (_RUN, "format=torch")}

_SECTIONS_OF_RUN = ("data", "model", "schedule", "engine", "trainer", "placement")

_LINES: dict[str, tuple[str, ...]] = {
    "evaluate": (
        *("output=run/config.yaml", "output=", "data.split=[1,0,0]", "data.path=nope.csv"),
        *("trainer.limit_test_batches=0", "data.split=[0.99,0,0.01]", "placement.device_map=[0]"),
    ),
    "predict": (
        *("output=", "output=f", "output=f.xlsx", "output=series.csv", "output=run/metrics.csv"),
        *("output=run/timeline.csv", "cutoffs=[2024-01-02,soon]", "cutoffs=[1,2024-01-02]"),
        *("cutoffs=[1970-01-01]", "cutoffs=[9999-01-01]", "names={ds: y_hat}", "names={y: ds}"),
        *("names={much: y}", "names={y_hat: 1}", "names={y_hat: null}", "data.path=nope.csv"),
    ),
    "backtest": (
        *("output=run/config.yaml", "output=", "start=2031-01-01", "start=7"),
        *("n_origins=1000", "data.split=[1,0,0]", "data.path=nope.csv"),
        *("refit=true trainer.max_epochs=0", "refit=true optimizer.lr=-1", "refit=true start=soon"),
        *("refit=true data.batch_size=0", "start=2024-01-05T23:00", "refit=1 stride=0"),
    ),
    "export": (
        *("scaling=true", "format=safetensors scaling=true", "output=run/config.yaml", "output="),
        *("format=onnx scaling=1.5", "data.path=series.csv", "engine=processes"),
    ),
}
"""What contradicts the run, its data or another setting, by command."""

_OF_ANY = (
    *(
        "",
        "run=",
        "run=nope",
        "run=series.csv",
        "run=run/config.yaml",
        "run=run/checkpoints/a.ckpt",
    ),
    *("run=run checkpoint=first", "run=run experiment=deep", "run=run seed=-1"),
    *("run=run ckpt_path=last", "run=run hydra.run.dir=x", "run=run init_from=a", "run=run much=1"),
    *("run=run ~data", "run=run ~data.path", "run=run model=gru", "run=run/.hydra", "run=${much}"),
)
"""Lines that no command takes; for `export` without its format."""


def wrong_use() -> Iterator[Try]:
    """Yield wrong values, choices and names of settings, and what contradicts the run."""
    for command, schema in SCHEMA_OF.items():
        yield from own_settings(command, schema, _START[command])
        for line in _LINES[command]:
            yield Try("contradiction in use", command, (*_START[command], *line.split(" ")))
        for line in _OF_ANY:
            more = ("format=torch",) if command == "export" else ()
            yield Try("line of use", command, (*(text for text in line.split(" ") if text), *more))
    yield from _settings_of_the_run()


def _settings_of_the_run() -> Iterator[Try]:
    """Yield wrong values of the run's settings, each for one command, and what weights fix."""
    commands = cycle([command for command in SCHEMA_OF if command != "export"])
    for section in _SECTIONS_OF_RUN:
        schemas = SCHEMAS[section]
        schema = schemas.get("csv") or schemas.get("threads") or schemas[""]
        for name, hint in get_type_hints(schema, include_extras=True).items():
            for value in wrong(name, hint, 0):
                text = f"{section}.{name}={value.text}"
                yield Try("value in use", next(commands), (_RUN, text))
    fixed = [f"model.{field.name}" for field in fields(SCHEMAS["model"][""])]
    for name in (*fixed, *FIXED_DATA):
        if name not in FREE_IN_MODEL:
            yield Try("fixed", next(commands), (_RUN, f"{name}=7"))
    for section in FREE_SECTIONS:
        yield Try("fixed", "evaluate", (_RUN, f"+{section}.much=1"))
