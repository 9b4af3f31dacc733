"""Writes a trained model in one of the formats; what is left behind has been read back."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.export.formats import NAMES, WEIGHTS
from gru_parallel.export.read_back import Comparison
from gru_parallel.export.trained import Trained


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: their paths.
        comparison: with the model of the run.
    """

    files: tuple[Path, ...]
    comparison: Comparison


class InexactExportError(EndOfRunError):
    """What was written computes something else than the model."""


def write_export(trained: Trained, kind: str, folder: Path, *, scaling: bool) -> Exported:
    """Write a model, read it back, and compare it; only then the files appear in the folder.

    Args:
        trained: the model.
        kind: the format.
        folder: to write into; a missing one is created.
        scaling: whether a program takes and gives the units of the series.

    Raises:
        UsageError: the folder cannot be written to.
        InexactExportError: what was read back is too far from the model.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".export-", dir=folder) as name:
            new = Path(name)
            comparison = _write(trained, kind, new, scaling=scaling)
            if not comparison.is_close:
                raise InexactExportError(
                    f"format={kind} differs from the model by {comparison.difference:.1e} of the"
                    f" largest entry, and {comparison.tolerance:.1e} is allowed; nothing was"
                    " written."
                )
            files = tuple(folder / file.name for file in sorted(new.iterdir()) if file.is_file())
            for file in files:
                os.replace(new / file.name, file)
    except OSError as error:
        raise UsageError(
            f"output={folder} cannot be written to ({error.strerror or error}); choose another."
        ) from error
    finally:
        if is_new:
            # Empty unless all is well.
            with suppress(OSError):
                folder.rmdir()
    return Exported(files, comparison)


def _write(trained: Trained, kind: str, folder: Path, *, scaling: bool) -> Comparison:
    # Each of these imports a library that the others do not need; onnx is an extra.
    in_units = scaling or kind in WEIGHTS
    about = json.dumps(trained.about(in_units=in_units), indent=1)
    (folder / f"{NAMES[kind]}.json").write_text(about + "\n", encoding="utf-8")
    if kind == "onnx":
        from gru_parallel.export.onnx_file import write_onnx

        return write_onnx(trained, folder, scaling=scaling)
    if kind == "torch_export":
        from gru_parallel.export.program import write_program

        return write_program(trained, folder, scaling=scaling)
    from gru_parallel.export.weights import write_weights

    return write_weights(trained, kind, folder)
