"""The result of testing a finished run again, as a file that scripts read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from gru_parallel.report.json_file import write_json


@dataclass(frozen=True)
class Evaluation:
    """What a test came to; the names are the keys of evaluation.json.

    Attributes:
        run: path of the folder of the run.
        checkpoint: path of the checkpoint that was tested.
        data: path of the file that was tested on, or the name of the built-in series.
        test_metrics: errors on the test windows by name, as in `Summary`.
        baselines: the same errors of each baseline on the same windows.
        test_windows: number of windows tested.
        all_test_windows: number of windows in the test part.
        environment: versions, machine and devices.
    """

    run: str
    checkpoint: str
    data: str
    test_metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    test_windows: int
    all_test_windows: int
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write it as strict JSON."""
        write_json(asdict(self), path)
