"""What is exported computes what the model does, at any length, and nothing less is left behind."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from gru_parallel.errors import UsageError
from gru_parallel.export import onnx_file, weights
from gru_parallel.export.forecaster import Forecaster
from gru_parallel.export.formats import NAMES
from gru_parallel.export.write import InexactExportError, write_export
from gru_parallel.model import WindowView
from tests.export.models import (
    MODELS,
    forecasts,
    largest_difference,
    shapes,
    trained,
    windows,
)

Run = Callable[..., Any]

LIMIT = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 0.2}
"""In standard units; a float64 of the level of the first column is rounded by 4e-12."""


def script_of(folder: Path, name: str) -> Run:
    forecast: Run = runpy.run_path(str(folder / name))["forecast"]
    return forecast


def program_of(folder: Path) -> Run:
    module: Run = torch.export.load(folder / "model.pt2").module()
    return module


def session_of(folder: Path) -> Run:
    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def run(*given: Tensor) -> Any:
        names = [each.name for each in session.get_inputs()]
        pairs = zip(names, given, strict=True)
        found = session.run(None, {name: value.numpy() for name, value in pairs})
        forecast, *h_n = map(torch.from_numpy, found)
        return (forecast, *h_n) if h_n else forecast

    return run


READ: dict[str, Callable[[Path], Run]] = {
    "torch": lambda folder: script_of(folder, "load_pt.py"),
    "safetensors": lambda folder: script_of(folder, "load_safetensors.py"),
    "torch_export": program_of,
    "onnx": session_of,
}


WEIGHTS = ("torch", "safetensors")
CASES = [
    pytest.param(
        kind,
        model,
        marks=[]
        if kind == "onnx"
        or (kind == "torch_export" and model == "a mixture")
        # Both hold the same weights: each has every second model.
        or (kind in WEIGHTS and kind == WEIGHTS[place % 2])
        else [pytest.mark.long],
    )
    for kind in READ
    for place, model in enumerate(MODELS)
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_written_computes_what_the_model_does(kind: str, name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    # A program of ONNX computes in float32.
    dtype = torch.float32 if kind == "onnx" and model.dtype == torch.float64 else model.dtype

    exported = write_export(model, kind, tmp_path, scaling=kind in ("torch_export", "onnx"))

    assert exported.comparison.is_close
    view = model.model.view or WindowView()
    length, n_channels = view.segment_length, view.n_channels or 1
    assert exported.comparison.lengths == ((7, 4, 14) if length == 1 else (8, 6, 16))
    run = READ[kind](tmp_path)
    # torch.export takes a size of 1 for a constant, here of segments.
    lengths = (2, 7, 30) if kind == "torch_export" and length > 1 else (1, 2, 7, 30)
    for n_rows, n_steps in shapes(lengths):
        x = windows(model, n_rows, n_steps * length)
        if not model.model.gru.carries:
            found, expected = run(x), forecasts(model, x)
        else:
            gru = model.model.gru
            h_0 = torch.rand(gru.n_states, n_rows * n_channels, gru.hidden_size)
            found, h_n = run(x, h_0)
            standardised = model.scaling.standardised(x).float()
            expected, expected_h_n = model.forecast(standardised, h_0)
            expected = model.scaling.in_units(expected)
            assert torch.allclose(h_n, expected_h_n, atol=1e-6)
        assert found.dtype == torch.float64
        assert largest_difference(model, found, expected) < LIMIT[dtype]


@pytest.mark.parametrize("kind", ["onnx", pytest.param("torch_export", marks=pytest.mark.long)])
def test_without_scaling_windows_and_forecasts_are_standardised(kind: str, tmp_path: Path) -> None:
    model = trained()
    x = model.scaling.standardised(windows(model, 3, 9)).float()

    write_export(model, kind, tmp_path, scaling=False)

    assert torch.allclose(READ[kind](tmp_path)(x), model.forecast(x)[0], atol=1e-6)
    assert json.loads((tmp_path / f"{NAMES[kind]}.json").read_text())["units"] == "standardised"


@pytest.mark.parametrize("kind", ["torch", pytest.param("torch_export", marks=pytest.mark.long)])
def test_a_process_without_this_library_forecasts_the_same(kind: str, tmp_path: Path) -> None:
    model = trained(4, 2, h_0=["learned", "previous"])
    write_export(model, kind, tmp_path, scaling=kind == "torch_export")
    x = windows(model, 2, 12)
    torch.save(x, tmp_path / "x.pt")
    code = """
import sys
sys.modules["gru_parallel"] = None
import torch
x = torch.load("x.pt")
if sys.argv[1] == "torch":
    from load_pt import forecast
else:
    forecast = torch.export.load("model.pt2").module()
torch.save(forecast(x), "found.pt")
"""

    done = subprocess.run(
        [sys.executable, "-c", code, kind],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt")
    assert largest_difference(model, found, forecasts(model, x)) < LIMIT[torch.float32]


def test_a_state_dict_loads_into_nn_gru_and_holds_nothing_else(tmp_path: Path) -> None:
    model = trained()
    # As cuDNN has them: all in one piece of memory.
    flat = torch.cat([w.flatten() for w in model.model.gru.parameters()]).detach()
    for weight in model.model.gru.parameters():
        weight.data = flat[: weight.numel()].view_as(weight)

    write_export(model, "torch", tmp_path, scaling=False)

    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    gru = torch.nn.GRU(6, 8, 3)
    ours = {n.removeprefix("gru."): w for n, w in saved.items() if n.startswith("gru.")}
    assert str(gru.load_state_dict(ours)) == "<All keys matched successfully>"
    assert all(weight.untyped_storage().nbytes() == weight.nbytes for weight in saved.values())


def test_safetensors_hold_the_settings(tmp_path: Path) -> None:
    write_export(trained(), "safetensors", tmp_path, scaling=False)

    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        metadata = file.metadata()
        assert "gru.weight_ih_l0" in file.keys()  # noqa: SIM118  # it is no mapping
    about = json.loads(metadata["gru_parallel"])
    assert metadata["format"] == "pt"
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1
    assert about == json.loads((tmp_path / "model.safetensors.json").read_text())
    assert about["columns"] == ["x0", "x1", "x2"]
    assert about["targets"] == ["x2", "x0"]
    assert about["target_positions"] == [2, 0]
    assert about["mean"] == [3e4, -2.0, 0.1]
    assert about["model"]["stack"]["num_layers"] == 3


def test_large_weights_go_into_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES_IN_ONE_FILE", 0)
    # Constants of less than a kilobyte stay in the graph.
    model = trained(bidirectional=True)

    exported = write_export(model, "onnx", tmp_path, scaling=False)

    names = [file.name for file in exported.files]
    assert names == ["model.onnx", "model.onnx.data", "model.onnx.json"]


def test_onnx_is_an_old_opset_with_named_inputs_and_outputs(tmp_path: Path) -> None:
    write_export(trained(h_0="carry", centre="none"), "onnx", tmp_path, scaling=True)

    model = onnx.load(tmp_path / "model.onnx")
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert [each.name for each in model.graph.input] == ["x", "h_0"]
    assert [each.name for each in model.graph.output] == ["forecast", "h_n"]
    grus = [node for node in model.graph.node if node.op_type == "GRU"]
    assert len(grus) == 3
    # Runtimes disagree about lengths: there are none.
    assert all(node.input[4] == "" for node in grus)
    assert json.loads(model.metadata_props[0].value)["units"] == "series"


def spoil(model: Forecaster) -> dict[str, Tensor]:
    """Swap two gates, as ONNX and torch have them."""
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    r, z, n = state["gru.weight_hh_l0"].chunk(3)
    state["gru.weight_hh_l0"] = torch.cat([z, r, n])
    return state


@pytest.mark.parametrize("is_new", [True, False])
def test_what_differs_from_the_model_is_not_left_behind(
    is_new: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "export"
    if not is_new:
        write_export(trained(seed=5), "torch", folder, scaling=False)
    before = {file.name: file.read_bytes() for file in folder.glob("*")}
    monkeypatch.setattr(weights.Forecaster, "weights", spoil)

    with pytest.raises(InexactExportError, match=r"differs from the model by .+; nothing was"):
        write_export(trained(), "torch", folder, scaling=False)

    assert folder.exists() != is_new
    assert {file.name: file.read_bytes() for file in folder.glob("*")} == before


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"output=.+file/export cannot be written to \(Not a dir"):
        write_export(trained(), "torch", tmp_path / "file" / "export", scaling=False)


def test_a_program_of_one_segment_is_refused_before_it_is_traced(tmp_path: Path) -> None:
    model = replace(MODELS["segments, a decoder"](), input_length=2)

    with pytest.raises(UsageError, match="two segments at least"):
        write_export(model, "torch_export", tmp_path / "export", scaling=False)

    assert list(tmp_path.iterdir()) == []
