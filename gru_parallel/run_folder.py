"""The folder of a run: the names of its files, and whether it belongs to a run."""

from __future__ import annotations

import json
from pathlib import Path


class RunFolder:
    """The folder of a run.

    Attributes:
        path: of the folder.
        config: path of the settings.
        plan: path of the plan.
        metrics: path of the table of what was logged.
        summary: path of the result; there once the run has ended.
        timeline: path of the picture of a step, predicted and measured.
        trace: path of the measured step and the predicted one, event by event.
        forecasts: path of forecasts over the test part; there after a test.
        forecast_picture: path of a picture of some of them.
        test_metrics: path of the errors of each target at each step; there after a test.
        report: path of the page that `gru-parallel report` writes.
        export: path of the folder that `gru-parallel export` writes into.
        best: path of the checkpoint with the lowest loss in validation.
        checkpoints: path of the folder of the checkpoints.
        last: path of the last checkpoint.
        lock: path of the file by which a run at work holds the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.plan = self.path / "plan.json"
        self.metrics = self.path / "metrics.csv"
        self.summary = self.path / "summary.json"
        self.timeline = self.path / "timeline.png"
        self.trace = self.path / "trace.json"
        self.forecasts = self.path / "forecasts.csv"
        self.forecast_picture = self.path / "forecast.png"
        self.test_metrics = self.path / "test_metrics.csv"
        self.report = self.path / "report.html"
        self.export = self.path / "export"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        self.lock = self.path / ".lock"

    @property
    def all_checkpoints(self) -> list[Path]:
        """Paths of all complete checkpoints, by name."""
        return sorted(self.checkpoints.glob("*.ckpt"))

    def holds(self, path: Path | str | None) -> bool:
        """Whether a path is in this folder."""
        return path is not None and self.path.resolve() in Path(path).resolve().parents

    @property
    def is_taken(self) -> bool:
        """Whether a run holds the folder: from its first checkpoint on, or once it is complete."""
        if self.all_checkpoints:
            return True
        try:
            ended = json.loads(self.summary.read_text(encoding="utf-8")).get("ended")
        except (OSError, ValueError, AttributeError):
            return False
        # A run that was stopped or failed before its first checkpoint may begin anew.
        return ended not in ("interrupted", "failed")


def part_of(path: Path) -> Path:
    """Return the path under which a checkpoint is written until it is complete."""
    return path.with_name(f"{path.name}.part")


def one_before(path: Path) -> Path:
    """Return the path of the checkpoint that one has taken the place of."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")
