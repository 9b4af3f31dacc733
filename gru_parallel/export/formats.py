"""The formats of an export, by the names that settings have for them."""

WEIGHTS = ("torch", "safetensors")
PROGRAMS = ("torch_export", "onnx")

NAMES = {
    "torch": "model.pt",
    "safetensors": "model.safetensors",
    "torch_export": "model.pt2",
    "onnx": "model.onnx",
}
"""The file of each format."""
