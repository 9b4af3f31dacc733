"""Wrong values, names and choices for every setting, derived from the schema of conf/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from gru_parallel.choices import COST_SOURCES
from gru_parallel.config.cluster_section import DevicesConfig, LinkConfig, MachinesConfig
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.schema import FREE_SECTIONS, SCHEMAS
from gru_parallel.config.setting_names import full_names
from gru_parallel.data.lorenz96 import lorenz96_table
from gru_parallel.data.table import Table
from gru_parallel.rules import SEED, one_of
from gru_parallel.verification.settings import Settings
from tests.bad_input.tries import Try
from tests.bad_input.values import POOL, Value, breaks, choices_of, misspelt
from tests.cli.in_process import SMALL

FILE = "good.csv"
PLAN = "good.json"
"""A file of a series, and one of a plan, that the tries may name; their tests write them."""

_FILE_SETTINGS = ("data=csv", f"data.path={FILE}", "data.season_length=4")
_SMALL_ANYWHERE = tuple(each for each in SMALL if not each.startswith("data.n_"))
GOOD_FILE = (*_FILE_SETTINGS, *_SMALL_ANYWHERE)
_GOOD_OWN = ("data=own", f"data.source={__name__}.series", *_SMALL_ANYWHERE)

_TOP: dict[str, Any] = {
    "seed": Annotated[int, SEED],
    "plan": Annotated[str, one_of(*COST_SOURCES)],
}
"""Settings outside of sections that hold no path."""

# Not decided by the schema, and wrong all the same: no column, device, precision, run or date is
# called so.
_OF_ANY_TYPE = (
    *("target", "time_column", "device_map", "machines", "inside", "precision"),
    *("run", "start", "cutoffs"),
)
# To a mapping, an empty one adds nothing.
_MAY_BE: Mapping[str, tuple[Any, ...]] = {
    "inside": ({},),
    "between": ({},),
    "names": ({},),
    "cutoffs": ([],),
}


_LIKE_ANOTHER = ("2x8xh100", "4xa100")
"""Options with the schema of another."""


def series() -> Table:
    """What data=own has here."""
    return lorenz96_table(260, 4, seed=0)


def options() -> Iterator[tuple[str, type[Any], str, tuple[str, ...]]]:
    """Yield each option of each section: section, schema, command, settings to begin with."""
    for section, schemas in SCHEMAS.items():
        for option, schema in schemas.items():
            if option in _LIKE_ANOTHER:
                continue
            chosen = (f"{section}={option}",) if option else ()
            command, start = "train", (*SMALL, *chosen)
            if section == "cluster" or option == "processes":
                # A run would be refused for the devices, or for the ranks, that are not here.
                command = "plan"
            if option == "csv":
                start = GOOD_FILE
            if option == "own":
                start = _GOOD_OWN
            if option == "file":
                start = (*start, "cluster.path=nope.yaml")
            yield section, schema, command, start


def wrong_values() -> Iterator[Try]:
    """Yield each wrong value of each setting."""
    for section, schema, command, start in options():
        defaults = _defaults(start)
        for name, hint in get_type_hints(schema, include_extras=True).items():
            full = f"{section}.{name}"
            for value in wrong(name, hint, defaults.get(full)):
                yield Try("value", command, (*start, f"{full}={value.text}"))
            for word in choices_of(hint):
                yield Try("choice", command, (*start, f"{full}={word}"))
    for name, hint in _TOP.items():
        for value in wrong(name, hint, 0):
            yield Try("value", "train", (*SMALL, f"{name}={value.text}"))


def wrong(name: str, hint: Any, default: Any) -> list[Value]:
    """Return the values of the pool that a setting must not have."""
    may_be = _MAY_BE.get(name, ())
    if name in _OF_ANY_TYPE:
        return [v for v in POOL if v.read is not None and v.read not in may_be]
    return [
        value for value in POOL if breaks(hint, value.read, default) and value.read not in may_be
    ]


def wrong_parts_of_clusters() -> Iterator[Try]:
    """Yield each wrong value of each part of a cluster that is described."""
    devices = {"kind": "h100", "count": 2, "memory_gib": 79}
    machine = {"count": 1, "devices": [devices]}
    link = {"latency_us": 10, "gigabytes_per_s": 450}
    start = (*SMALL, "cluster=8xh100")
    for field, value in _wrong_fields(DevicesConfig):
        part = [{**machine, "devices": [{**devices, field: value}]}]
        yield Try("part", "plan", (*start, f"cluster.machines={written(part)}"))
    for field, value in _wrong_fields(MachinesConfig):
        yield Try(
            "part", "plan", (*start, f"cluster.machines={written([{**machine, field: value}])}")
        )
    for field, value in _wrong_fields(LinkConfig):
        yield Try("part", "plan", (*start, f"cluster.inside={written({**link, field: value})}"))


def beyond_all_bounds() -> Iterator[Try]:
    """Yield numbers that would take memory or time without an end."""
    names = ("model.num_layers", "model.layers_per_block", "data.batch_size", "data.num_workers")
    names += ("data.n_steps", "data.n_channels", "data.horizon", "schedule.n_chunks")
    for name in names:
        for zeros in (12, 18, 40):
            yield Try("bounds", "train", (*SMALL, f"{name}=1{'0' * zeros}"))
    for part in (
        "count: 1, devices: [{kind: h100, count: N}]",
        "count: N, devices: [{kind: h100}]",
    ):
        for zeros in (12, 18, 40):
            machine = part.replace("N", f"1{'0' * zeros}")
            start = (*SMALL, "cluster=8xh100")
            yield Try("bounds", "plan", (*start, f"cluster.machines=[{{{machine}}}]"))


def wrong_settings_of_verify() -> Iterator[Try]:
    """Yield each wrong value, choice and name of a setting of `verify`."""
    yield from own_settings("verify", Settings)
    for size in ("num_layers", "hidden_size", "batch_size", "lengths"):
        for zeros in (12, 20, 40):
            text = f"[1{'0' * zeros}]" if size == "lengths" else f"1{'0' * zeros}"
            yield Try("larger than memory", "verify", (f"{size}={text}",))


def own_settings(command: str, schema: type[Any], start: tuple[str, ...] = ()) -> Iterator[Try]:
    """Yield each wrong value, choice and name of a setting that is the command's own.

    Args:
        command: its name.
        schema: of its settings.
        start: settings that it needs.
    """
    hints = get_type_hints(schema, include_extras=True)
    of = "" if command == "verify" else " of another command"
    for field in fields(schema):
        others = tuple(text for text in start if not text.startswith(f"{field.name}="))
        default = None if field.default is None else 0
        for value in wrong(field.name, hints[field.name], default):
            yield Try(f"value{of}", command, (*others, f"{field.name}={value.text}"))
        for word in choices_of(hints[field.name]):
            yield Try(f"choice{of}", command, (*others, f"{field.name}={word}"))
        for text in _wrong_names(field.name, ""):
            yield Try(f"name{of}", command, (*others, text))


def wrong_names() -> Iterator[Try]:
    """Yield each setting with a wrong name, given twice over, taken away, or without a value."""
    for section, schema, command, start in options():
        for field in fields(schema):
            for text in _wrong_names(field.name, f"{section}."):
                yield Try("name", command, (*start, text))
    for section in SCHEMAS | dict.fromkeys(FREE_SECTIONS):
        for text in (f"{section}=much", f"{section}=", f"~{section}x", f"{section}=[a,b]"):
            yield Try("option", "train", (*SMALL, text))
        yield Try("option", "train", (*SMALL, f"{misspelt(section)}=much"))


def _wrong_names(name: str, prefix: str) -> Iterator[str]:
    full, other = f"{prefix}{name}", f"{prefix}{misspelt(name)}"
    yield from (f"{other}=1", f"+{other}=1", f"++{other}=1", f"~{full}", f"{full}.much=1", full)
    yield f"{full}=1,2"


def _wrong_fields(schema: type[Any]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(schema, include_extras=True)
    for field in fields(schema):
        default = None if field.default is None else 0
        for value in POOL:
            is_wrong = breaks(hints[field.name], value.read, default)
            if is_wrong or (field.name == "devices" and value.read != []):
                yield field.name, value.read
    yield "much", 1


def written(value: Any) -> str:
    """Write a nested value as an override has it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value) if value != "" else "''"


@cache
def _defaults(start: tuple[str, ...]) -> dict[str, Any]:
    composed = compose_config(start)
    assert isinstance(composed, DictConfig)
    return {
        name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for name, value in full_names(composed).items()
    }
