"""Wrong arguments for the classes of optimizer, lr_scheduler, callbacks and logger."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, signature
from pkgutil import resolve_name
from typing import Any, get_type_hints

from gru_parallel.config.overrides import compose_config
from tests.bad_input.tries import Try
from tests.bad_input.values import POOL, breaks, misspelt
from tests.cli.in_process import SMALL

_OPTIONS = {
    "optimizer": ("adamw", "adam", "sgd"),
    "lr_scheduler": ("cosine", "one_cycle", "plateau"),
    "callbacks": ("early_stopping",),
    "logger": ("csv", "tensorboard"),
}

_CLASSES: dict[str, dict[str, dict[str, str]]] = {
    "optimizer": {
        "torch.optim.RMSprop": {},
        "torch.optim.NAdam": {},
        "torch.optim.Adagrad": {},
    },
    "lr_scheduler": {
        "torch.optim.lr_scheduler.StepLR": {"step_size": "2"},
        "torch.optim.lr_scheduler.ExponentialLR": {"gamma": "0.9"},
        "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts": {"T_0": "2"},
    },
    "callbacks": {
        "lightning.pytorch.callbacks.ModelCheckpoint": {},
        "lightning.pytorch.callbacks.Timer": {},
        "lightning.pytorch.callbacks.ModelSummary": {},
        "lightning.pytorch.callbacks.TQDMProgressBar": {},
    },
    "logger": {"lightning.pytorch.loggers.CSVLogger": {"save_dir": "logs"}},
}
"""Classes that no option chooses, by section, with the arguments that they need."""

_NO_CLASSES = (
    "",
    "much",
    "torch",
    "torch.optim",
    "torch.optim.Much",
    "nope.Nope",
    "torch.pi",
    "builtins.dict",
    "math.inf",
    "1",
    "null",
    "[]",
    "{}",
    "...",
    "a b",
    "os.path:",
)

_GIVEN = ("params", "optimizer", "self", "args", "kwargs")

_BEYOND: dict[str, tuple[str, ...]] = {
    "optimizer": (
        *("lr=-1", "lr=inf", "lr=nan", "lr=-1e-300", "lr=[1]", "lr=much", "lr=true"),
        *("weight_decay=-0.1", "weight_decay=nan", "weight_decay=-inf"),
        *("+betas=[0.9,1.0]", "+betas=[-0.1,0.9]", "+betas=[nan,0.9]", "+betas=0.9", "+betas=[]"),
        *("+eps=-1e-8", "+eps=nan", "+eps=inf", "+betas=[0.9,0.9,0.9]", "+betas=[a,b]"),
        *("+maximize=1", "+_args_=[1]", "+_partial_=true", "+_convert_=much"),
    ),
    "lr_scheduler": (
        *("interval=steps", "interval=0", "interval=null", "interval=[step]", "interval=true"),
    ),
    "lr_scheduler=one_cycle": (
        *("max_lr=0", "max_lr=nan", "max_lr=[]", "total_steps=0", "total_steps=-3"),
        *("total_steps=1.5", "total_steps=null", "+pct_start=2", "+pct_start=-0.5"),
        *("+anneal_strategy=much", "+div_factor=0", "+div_factor=nan", "+final_div_factor=0"),
    ),
    "lr_scheduler=cosine": ("T_max=-1", "T_max=0", "T_max=nan", "T_max=[]", "T_max=2.5"),
    "lr_scheduler=plateau": (
        *("factor=1", "factor=2", "factor=nan", "patience=-1", "patience=1.5", "monitor="),
        *("monitor=null", "monitor=[]", "+mode=most", "+threshold_mode=much", "+min_lr=[1,2]"),
        *("+threshold=nan", "interval=step", "+cooldown=much", "+min_lr=nan"),
    ),
    "callbacks=early_stopping": (
        *("early_stopping.patience=-1", "early_stopping.patience=nan", "early_stopping.monitor="),
        *("early_stopping.monitor=null", "+early_stopping.mode=most"),
        *("+early_stopping.min_delta=nan", "+early_stopping.min_delta=much"),
        *("early_stopping=null", "early_stopping=3", "early_stopping=[]", "early_stopping={}"),
        *("+mine=null", "+mine={}", "+mine=[]", "+mine=true", "+mine._target_=null", "+mine.x=1"),
    ),
    "logger=csv": (
        *("csv.save_dir=", "csv.save_dir=null", "csv.save_dir=[]", "csv.name=null"),
        *("csv.save_dir=good.csv/logs", "+csv.flush_logs_every_n_steps=-1", "csv=null", "csv=1"),
        *("+csv.flush_logs_every_n_steps=nan", "+csv.flush_logs_every_n_steps=0", "csv=[]"),
    ),
    "logger=tensorboard": (
        *("tensorboard.save_dir=", "tensorboard.save_dir=3", "+tensorboard.much=1"),
        *("+tensorboard.log_graph=1", "+tensorboard.log_graph=true"),
    ),
}
"""Values of the right type that are out of range, or go with nothing, by section and option."""


def wrong_arguments() -> Iterator[Try]:
    """Yield wrong arguments, and classes that are none."""
    yield from _of_options()
    yield from _of_classes()
    yield from _no_classes()
    for choice, settings in _BEYOND.items():
        section, _, option = choice.partition("=")
        start = (choice,) if option else ("lr_scheduler=cosine",) * (section == "lr_scheduler")
        for setting in settings:
            sign, bare = ("+", setting[1:]) if setting.startswith("+") else ("", setting)
            yield Try("argument", "train", (*SMALL, *start, f"{sign}{section}.{bare}"))


def _of_options() -> Iterator[Try]:
    """Yield wrong types of the arguments that an option gives its class."""
    for section, chosen in _OPTIONS.items():
        for option in chosen:
            start = (*SMALL, f"{section}={option}")
            composed = compose_config(start)[section]
            parts = {section: composed}
            if section in ("callbacks", "logger"):
                parts = {f"{section}.{key!s}": part for key, part in composed.items()}
            for name, settings in parts.items():
                for key, value in _wrong(str(settings["_target_"])):
                    sign = "" if key in settings else "+"
                    yield Try("argument", "train", (*start, f"{sign}{name}.{key}={value}"))


def _of_classes() -> Iterator[Try]:
    """Yield wrong types of the arguments of other classes."""
    for section, targets in _CLASSES.items():
        for target, needed in targets.items():
            for key, value in _wrong(target):
                given = {**needed, key: value or "''"}
                if section in ("callbacks", "logger"):
                    pairs = ",".join(f"{name}:{text}" for name, text in given.items())
                    settings = [f"+{section}.mine={{_target_:{target},{pairs}}}"]
                else:
                    settings = [f"{section}._target_={target}"]
                    for name, text in given.items():
                        sign = "" if name in ("lr", "weight_decay") else "+"
                        settings.append(f"{sign}{section}.{name}={text}")
                yield Try("argument", "train", (*SMALL, *settings))


def _no_classes() -> Iterator[Try]:
    """Yield what is not a class of the kind."""
    for target in _NO_CLASSES:
        yield Try("class", "train", (*SMALL, f"optimizer._target_={target}"))
        if target != "null":
            schedule = ("lr_scheduler=cosine", f"lr_scheduler._target_={target}")
            yield Try("class", "train", (*SMALL, *schedule))
        for section in ("callbacks", "logger"):
            whole = f"{{_target_:{target or chr(39) * 2}}}"
            if target != "os.path:":
                yield Try("class", "train", (*SMALL, f"+{section}.mine={whole}"))


def _wrong(target: str) -> Iterator[tuple[str, str]]:
    """Yield arguments of a class with wrong values, and one that it does not know."""
    make = resolve_name(target)
    hints = get_type_hints(make.__init__)
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    parameters = signature(make).parameters
    takes_no_others = all(p.kind is not Parameter.VAR_KEYWORD for p in parameters.values())
    for key, parameter in parameters.items():
        if key in _GIVEN or parameter.kind not in by_name:
            continue
        hint = hints.get(key, Any)
        for value in POOL:
            if _is_simple(hint) and breaks(hint, value.read, parameter.default):
                yield key, value.text
        if takes_no_others:
            yield misspelt(key), "1"


def _is_simple(hint: Any) -> bool:
    """Whether a type says all: no class may stand behind it that takes what looks wrong."""
    return hint in (int, float, bool, int | None, float | None, bool | None)
