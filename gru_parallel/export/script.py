"""The script beside exported weights, which loads them and forecasts with PyTorch alone."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch
from torch import nn

from gru_parallel.choices import LEAST_VARIANCE
from gru_parallel.export.forecaster import Forecaster, Part, has_bias
from gru_parallel.model import (
    NegativeBinomialOutput,
    NormalOutput,
    QuantileOutput,
    StepEncoder,
    WindowView,
)
from gru_parallel.model.output import LEAST
from gru_parallel.version import __version__

LOADERS = {
    ".pt": ("import torch", "torch.load({path}, weights_only=True)"),
    ".safetensors": (
        "import torch\nfrom safetensors.torch import load_file",
        "load_file({path})",
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

# The model, with its weights.
weights = {load}
{modules}
model.load_state_dict(weights)

# What brings rows to the scale of the model, and forecasts back.
about = json.loads(Path(__file__).with_name("{name}.json").read_text())
mean, scale = (torch.tensor(about[key], dtype=torch.float64) for key in ("mean", "scale"))
targets = about["target_positions"]


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
    numbers = ", ".join(forecaster.output.exported_names)
    each = f", [{numbers}]" if numbers else ""
    what = f"(batch, time, columns) -> (batch, {{}}, targets{each}), in the units of the series"
    steps = "time" if forecaster.every_step else f"{forecaster.output_shape[0]} steps"
    more = "; also h_n, the next h_0" if forecaster.carries else ""
    return SCRIPT.format(
        name=name,
        version=__version__,
        imports=imports,
        load=load.format(path=f'Path(__file__).with_name("{name}")'),
        modules="\n".join(_modules(forecaster)),
        arguments="x, h_0=None" if forecaster.carries else "x",
        what=what.format(steps) + more,
        body="\n".join(f"    {line}" for line in _body(forecaster)),
    )


def _modules(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that make the model."""
    for part in forecaster.parts:
        if part.start == "learned":
            yield f'{_start_name(part)} = weights.pop("{part.learned_name}")'
    yield from (f'{name} = weights.pop("encoder.{name}.weight")' for name in _learned(forecaster))
    yield "model = nn.ModuleDict()"
    if isinstance(forecaster.encoder, nn.Linear):
        yield f'model["encoder"] = {_linear(forecaster.encoder)}'
    elif isinstance(forecaster.encoder, StepEncoder):
        linear = _linear(forecaster.encoder.linear)
        yield f'model["encoder"] = nn.ModuleDict({{"linear": {linear}}})'
    for part in forecaster.parts:
        if part.has_norm:
            width = forecaster.gru_of(part).input_size
            yield f'model["{part.norm_name}"] = nn.LayerNorm({width})'
        yield f'model["{part.name}"] = {_gru(forecaster.gru_of(part))}'
    yield f'model["head"] = {_linear(forecaster.head)}'
    if forecaster.head.weight.dtype != torch.float32:
        yield f"model.to({forecaster.head.weight.dtype})"


def _body(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that forecast."""
    yield f"x = ((x.double() - mean) / scale).to({forecaster.head.weight.dtype})"
    if forecaster.centre == "scale":
        yield "spread = 1 + x.abs().mean(1, keepdim=True)"
        yield "x = x / spread"
    elif forecaster.centre != "none":
        last = forecaster.centre == "last"
        yield "level = x[:, -1:]" if last else "level = x.mean(1, keepdim=True)"
        yield "x = x - level"
    if forecaster.centre == "standardize":
        yield f"spread = (x.square().mean(1, keepdim=True) + {LEAST_VARIANCE}).sqrt()"
        yield "x = x / spread"
    if forecaster.view != WindowView():
        yield from _rows(forecaster)
    if forecaster.carries:
        shape = f"{forecaster.n_states}, len(x), {forecaster.hidden_size}"
        yield f"h_0 = x.new_zeros({shape}) if h_0 is None else h_0"
    y = yield from _encoded(forecaster)
    keeps = forecaster.carries or any(part.start == "previous" for part in forecaster.parts)
    for part in forecaster.parts:
        yield from _part(part, y)
        if keeps:
            yield "states = [h_n]" if part is forecaster.parts[0] else "states += [h_n]"
        if forecaster.n_decoding > 0:
            start = f"h_n.repeat_interleave({forecaster.n_decoding}, 1)"
            yield from _part(part, "after", f", {start}", after=True)
        y = "y"
    yield from _scores(forecaster)
    yield from _numbers(forecaster)
    each = ", None" if forecaster.output.exported_names else ""
    is_done = isinstance(forecaster.output, NegativeBinomialOutput)
    if forecaster.centre in ("scale", "standardize") and not is_done:
        yield f"y = y * spread[:, :, targets{each}]"
    if forecaster.centre in ("last", "standardize"):
        yield f"y = y + level[:, :, targets{each}]"
    y = f"y.double() * scale[targets{each}] + mean[targets{each}]"
    yield f"return {y}, torch.cat(states)" if forecaster.carries else f"return {y}"


def _part(part: Part, y: str, start: str | None = None, *, after: bool = False) -> Iterator[str]:
    """Write the lines that take what comes in, an expression, through a part.

    Args:
        part: of the stack.
        y: what comes in.
        start: what it starts from, after a comma; None for what the part says.
        after: whether this is about the steps after the window, and not to `y`.
    """
    to, h_n = ("after", "_") if after else ("y", "h_n")
    if (part.has_norm or part.has_residual) and y != to:
        yield f"{to} = {y}"
        y = to
    x, outputs = y, "outputs" if part.has_residual else to
    if part.has_norm:
        yield f'normed = model["{part.norm_name}"]({to})'
        x = "normed"
    start = _start(part) if start is None else start
    yield f'{outputs}, {h_n} = model["{part.name}"]({x}{start})'
    if part.has_residual:
        yield f"{to} = {to} + outputs"


def _learned(forecaster: Forecaster) -> list[str]:
    """Name what the encoder has learned beside its linear layer."""
    encoder = forecaster.encoder
    names = ("channels", "places") if isinstance(encoder, StepEncoder) else ()
    return [name for name in names if getattr(encoder, name) is not None]


def _rows(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that make rows and steps of windows."""
    length = forecaster.view.segment_length
    if forecaster.view.n_channels is not None:
        yield "# A row for each channel, and a step for each segment."
        yield f"x = x.transpose(1, 2).flatten(0, 1).unflatten(1, (-1, {length}))"
    else:
        yield f"x = x.unflatten(1, (-1, {length})).flatten(2)"


def _encoded(forecaster: Forecaster) -> Generator[str, None, str]:
    """Write the lines of the encoder; return what goes into the first layer."""
    encoder, names = forecaster.encoder, _learned(forecaster)
    if not isinstance(encoder, StepEncoder):
        return 'model["encoder"](x)' if isinstance(encoder, nn.Linear) else "x"
    yield f'y = model["encoder"].linear(x){".relu()" if encoder.has_relu else ""}'
    if names == ["channels"]:
        yield "y = y + channels.repeat(len(y) // len(channels), 1).unsqueeze(1)"
    if "places" in names:
        yield "# The steps after the window, as rows of one step."
        yield "after = places.repeat(len(y), 1)"
    if names == ["channels", "places"]:
        yield "of_channels = channels.repeat_interleave(len(places), 0)"
        yield "of_channels = of_channels.repeat(len(y) // len(channels), 1)"
        yield "after = torch.cat([after, of_channels], 1)"
    if "places" in names:
        yield "after = after.unsqueeze(1)"
    return "y"


def _scores(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines of the head."""
    if forecaster.every_step:
        yield 'y = model["head"](y)'
    elif forecaster.n_decoding == 0:
        yield f'y = model["head"](y[:, -1]).unflatten(1, {forecaster.output_shape})'
    else:
        horizon, n_targets = forecaster.output_shape
        yield f'y = model["head"](after).reshape(len(y), -1, {n_targets})[:, :{horizon}]'
    several, n_channels = forecaster.output.exported_names, forecaster.view.n_channels
    if n_channels is not None:
        row = "y" if several else "y.squeeze(2)"
        yield f"y = {row}.unflatten(0, (-1, {n_channels})).transpose(1, 2)"
    elif several:
        yield f"y = y.unflatten(-1, (-1, {forecaster.output.n_numbers}))"


def _numbers(forecaster: Forecaster) -> Iterator[str]:
    """Write the lines that make of the head's numbers what `Output.exported` does."""
    output, softplus = forecaster.output, "nn.functional.softplus"
    if output.exported_names and forecaster.head.weight.dtype.itemsize == 2:
        yield "y = y.float()"
    if isinstance(output, QuantileOutput):
        median, n_levels = output.levels.index(0.5), output.n_numbers
        yield "q = list(y.unbind(-1))"
        for k in range(median + 1, n_levels):
            yield f"q[{k}] = q[{k - 1}] + {softplus}(q[{k}])"
        for k in reversed(range(median)):
            yield f"q[{k}] = q[{k + 1}] - {softplus}(q[{k}])"
        yield f"y = torch.stack([q[{median}], *q], -1)"
    elif isinstance(output, NormalOutput):
        yield "m, s = y.unbind(-1)"
        yield f"s = {softplus}(s) + {LEAST}"
        yield f"y = torch.stack([m, *(m + step * s for step in {output.steps})], -1)"
    elif isinstance(output, NegativeBinomialOutput):
        yield f"m, a = ({softplus}(y) + {LEAST}).unbind(-1)"
        if forecaster.centre == "scale":
            yield "m, a = m * spread[:, :, targets], a / spread[:, :, targets].sqrt()"
        yield "y = torch.stack([m, a], -1)"


def _start(part: Part) -> str:
    match part.start:
        case "learned":
            return f", {_start_name(part)}.repeat(1, len(x), 1)"
        case "carry":
            return f", h_0[{part.states.start}:{part.states.stop}]"
        case "previous":
            return f", torch.cat(states)[{part.previous.start}:{part.previous.stop}]"
        case _:
            return ""


def _start_name(part: Part) -> str:
    """Name a variable for what a part learns to start from; `h_0` is an argument."""
    return f"start_of_{part.name}"


def _linear(linear: nn.Linear) -> str:
    bias = "" if has_bias(linear) else ", bias=False"
    return f"nn.Linear({linear.in_features}, {linear.out_features}{bias})"


def _gru(gru: nn.GRU) -> str:
    options = {"bias": (gru.bias, True), "bidirectional": (gru.bidirectional, False)}
    more = "".join(f", {key}={value}" for key, (value, usual) in options.items() if value != usual)
    return f"nn.GRU({gru.input_size}, {gru.hidden_size}, {gru.num_layers}, batch_first=True{more})"
