"""The script beside exported weights, which loads them and forecasts with PyTorch alone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from gru_parallel.choices import LEAST_VARIANCE
from gru_parallel.export.forecaster import Forecaster, Part, has_bias
from gru_parallel.version import __version__

LOADERS = {
    ".pt": ("import torch", 'torch.load(HERE / "{name}", weights_only=True)'),
    ".safetensors": (
        "import torch\nfrom safetensors.torch import load_file",
        'load_file(HERE / "{name}")',
    ),
}
"""By the suffix of the weights' file: what is imported, and what loads it."""

SCRIPT = '''"""Forecasts with PyTorch alone, from {name} and {name}.json beside this file.

Written by gru_parallel {version}.
"""

import json
from pathlib import Path

{imports}
from torch import nn

HERE = Path(__file__).parent
about = json.loads((HERE / "{name}.json").read_text())
mean, scale = (torch.tensor(about[key], dtype=torch.float64) for key in ("mean", "scale"))
targets = about["target_positions"]

weights = {load}
{modules}
model.load_state_dict(weights)


@torch.no_grad()
def forecast({arguments}):
    """Forecast: {what}."""
{body}


if __name__ == "__main__":
    # Your rows in the place of the means; the script itself may be imported, too.
    print(forecast(mean.expand(1, about["input_length"], -1)))
'''


def script(forecaster: Forecaster, name: str) -> str:
    """Write the script.

    Args:
        forecaster: whose weights they are.
        name: of the weights' file, whose suffix says how it is loaded.
    """
    imports, load = LOADERS[name[name.rindex(".") :]]
    what = "(batch, time, columns) -> (batch, {}, targets), in the units of the series"
    steps = "time" if forecaster.every_step else f"{forecaster.output_shape[0]} steps"
    more = "; also h_n, the next h_0" if forecaster.carries else ""
    return SCRIPT.format(
        name=name,
        version=__version__,
        imports=imports,
        load=load.format(name=name),
        modules="\n".join(_modules(forecaster)),
        arguments="x, h_0=None" if forecaster.carries else "x",
        what=what.format(steps) + more,
        body="\n".join(f"    {line}" for line in _body(forecaster)),
    )


def _modules(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that make the model."""
    for part in forecaster.parts:
        if part.start == "learned":
            yield f'{_learned(part)} = weights.pop("{part.learned_name}")'
    yield "model = nn.ModuleDict()"
    if isinstance(forecaster.encoder, nn.Linear):
        yield f'model["encoder"] = {_linear(forecaster.encoder)}'
    for part in forecaster.parts:
        if part.has_norm:
            width = forecaster.gru_of(part).input_size
            yield f'model["{part.norm_name}"] = nn.LayerNorm({width})'
        yield f'model["{part.name}"] = {_gru(forecaster.gru_of(part))}'
    yield f'model["head"] = {_linear(forecaster.head)}'
    yield f"model.to({forecaster.head.weight.dtype}).eval()"


def _body(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that forecast."""
    yield f"x = ((x.double() - mean) / scale).to({forecaster.head.weight.dtype})"
    if forecaster.carries:
        shape = f"{forecaster.n_states}, len(x), {forecaster.hidden_size}"
        yield f"h_0 = x.new_zeros({shape}) if h_0 is None else h_0"
    if forecaster.centre != "none":
        last = forecaster.centre == "last"
        yield "level = x[:, -1:]" if last else "level = x.mean(1, keepdim=True)"
        yield "x = x - level"
    if forecaster.centre == "standardize":
        yield f"spread = (x.square().mean(1, keepdim=True) + {LEAST_VARIANCE}).sqrt()"
        yield "x = x / spread"
    y = 'model["encoder"](x)' if isinstance(forecaster.encoder, nn.Linear) else "x"
    keeps = forecaster.carries or any(part.start == "previous" for part in forecaster.parts)
    for part in forecaster.parts:
        yield from _part(part, y)
        if keeps:
            yield "states = [h_n]" if part is forecaster.parts[0] else "states += [h_n]"
        y = "y"
    if forecaster.every_step:
        yield 'y = model["head"](y)'
    else:
        yield f'y = model["head"](y[:, -1]).unflatten(1, {forecaster.output_shape})'
    if forecaster.centre == "standardize":
        yield "y = y * spread[:, :, targets]"
    if forecaster.centre != "none":
        yield "y = y + level[:, :, targets]"
    y = "y.double() * scale[targets] + mean[targets]"
    yield f"return {y}, torch.cat(states)" if forecaster.carries else f"return {y}"


def _part(part: Part, y: str) -> Iterator[str]:
    """Write the lines that take what comes in, an expression, through a part to `y`."""
    if (part.has_norm or part.has_residual) and y != "y":
        yield f"y = {y}"
        y = "y"
    x, outputs = y, "outputs" if part.has_residual else "y"
    if part.has_norm:
        yield f'normed = model["{part.norm_name}"](y)'
        x = "normed"
    yield f'{outputs}, h_n = model["{part.name}"]({x}{_start(part)})'
    if part.has_residual:
        yield "y = y + outputs"


def _start(part: Part) -> str:
    match part.start:
        case "learned":
            return f", {_learned(part)}.repeat(1, len(x), 1)"
        case "carry":
            return f", h_0[{part.states.start}:{part.states.stop}]"
        case "previous":
            return f", torch.cat(states)[{part.previous.start}:{part.previous.stop}]"
        case _:
            return ""


def _learned(part: Part) -> str:
    """Name a variable for what a part learns to start from; `h_0` is an argument."""
    return f"start_of_{part.name}"


def _linear(linear: nn.Linear) -> str:
    bias = "" if has_bias(linear) else ", bias=False"
    return f"nn.Linear({linear.in_features}, {linear.out_features}{bias})"


def _gru(gru: nn.GRU) -> str:
    options = {"bias": (gru.bias, True), "bidirectional": (gru.bidirectional, False)}
    more = "".join(f", {key}={value}" for key, (value, usual) in options.items() if value != usual)
    return f"nn.GRU({gru.input_size}, {gru.hidden_size}, {gru.num_layers}, batch_first=True{more})"
