"""The heavy half of `export`: reads the model of a run, writes it, and says how exact it is."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

from gru_parallel.app.export_settings import ExportSettings
from gru_parallel.app.outcome import fail
from gru_parallel.app.output import output_folder
from gru_parallel.assembly.finished_run import open_run
from gru_parallel.assembly.trained import read_trained
from gru_parallel.errors import UsageError
from gru_parallel.export.formats import WEIGHTS
from gru_parallel.export.write import InexactExportError, write_export

READERS = {"onnx": "onnxruntime", "safetensors": "safetensors"}
"""What reads a format back, if that is not torch."""


def show(settings: ExportSettings) -> int:
    """Write the model, print where it is and how far it is from the run's, return the status.

    Raises:
        UsageError: a setting cannot work, or the folder holds no model.
    """
    _check(settings)
    run = open_run(settings.run, checkpoint=settings.checkpoint)
    folder = output_folder(settings.output, run.folder.export)
    try:
        exported = write_export(
            read_trained(run), settings.format, folder, scaling=settings.scaling
        )
    except InexactExportError as error:
        return fail(error, error.status)
    found, reader = exported.comparison, READERS.get(settings.format, "torch")
    lengths = ", ".join(map(str, found.lengths))
    print(run.words)
    print(f"Written to {folder}: {', '.join(file.name for file in exported.files)}")
    print(
        f"Read back with {reader} {version(reader)} and compared with the model of the run, over"
        f" windows of {lengths} rows: at most {found.difference:.1e} of the largest entry off, and"
        f" {found.tolerance:.1e} is allowed"
    )
    return 0


def _check(settings: ExportSettings) -> None:
    if settings.scaling and settings.format in WEIGHTS:
        raise UsageError(
            f"scaling=true goes into a program, format=torch_export or onnx; with format="
            f"{settings.format} the script that is written beside the weights scales."
        )
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if settings.format == "onnx" and missing:
        raise UsageError(
            f"format=onnx needs {' and '.join(missing)}; install them: pip install"
            " 'gru-parallel[onnx]'."
        )
