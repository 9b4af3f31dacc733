"""From a finished run to the model that it trained, for an export."""

from __future__ import annotations

import torch

from gru_parallel.assembly.finished_run import FinishedRun
from gru_parallel.errors import UsageError
from gru_parallel.export.trained import Scaling, Trained
from gru_parallel.model import model_from

_PREFIX = "model."
"""Of the model's weights in the state dict of the module."""


def read_trained(run: FinishedRun) -> Trained:
    """Read the model of a run.

    Raises:
        UsageError: its checkpoint does not describe it.
    """
    described = run.saved.get("module", {}).get("model")
    if described is None:
        raise UsageError(
            f"run={run.checkpoint} does not describe its model: it has an encoder or a head of your"
            " own, or was written by an earlier version; an export is for the encoders and heads of"
            " this library, so train with one of these (model.head=window, decoder or every_step)."
        )
    if run.record.widths.n_known + run.record.widths.n_static > 0:
        raise UsageError(
            f"run={run.folder.path} forecasts from what is known ahead or of the series"
            " (data.future, data.calendar, data.static), and an export takes the rows of a window"
            " alone; use predict, or train without."
        )
    model = model_from(described)
    weights = {
        name.removeprefix(_PREFIX): weight
        for name, weight in run.saved["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    model.load_state_dict(weights)
    record, data = run.record, run.config.data
    scaling = Scaling(
        torch.from_numpy(run.standardizer.mean),
        torch.from_numpy(run.standardizer.scale),
        tuple(record.columns.index(target) for target in record.targets),
    )
    return Trained(
        model.eval(),
        tuple(record.columns),
        tuple(record.targets),
        scaling,
        data.input_length,
        data.horizon,
        data.centre,
    )
