"""Which settings and options there are, and which one a wrong name may have meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, Node, OmegaConf

from gru_parallel.choices import hint, meant
from gru_parallel.config.schema import FREE_SECTIONS
from gru_parallel.config.targets import arguments_of, find_target
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written

_NOT_OF_THE_TRAINER = {
    **dict.fromkeys(
        ("accelerator", "devices", "num_nodes", "strategy"),
        "is decided by the plan; choose devices with placement.device_map.",
    ),
    "callbacks": "is a section of its own; use callbacks=early_stopping, or"
    " +callbacks.mine={_target_: package.MyCallback}.",
    "logger": "is a section of its own; use logger=csv or logger=none, or"
    " +logger.mine={_target_: package.MyLogger}.",
    "default_root_dir": "is the folder of the run; use hydra.run.dir=...",
    **dict.fromkeys(
        (
            "barebones",
            "enable_autolog_hparams",
            "model_registry",
            "plugins",
            "sync_batchnorm",
            "use_distributed_sampler",
        ),
        "would take from the run what it needs to train, to log or to save; leave it out.",
    ),
}
"""Arguments of Lightning's Trainer that are not settings, and why."""

# Arguments that every optimiser and every schedule of the rate gets.
_N_GIVEN = {"optimizer": 1, "lr_scheduler": 1}


@dataclass(frozen=True)
class Names:
    """The names that the overrides of a run may use.

    Attributes:
        settings: every setting by its full name, with its value, in each of the runs of a sweep.
        groups: files of the options by option, by config group.
    """

    settings: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Path]]

    @cached_property
    def top(self) -> list[str]:
        """Names of the sections, and of the settings outside of sections."""
        return [name for name in self.settings if "." not in name]

    def check_option(self, override: Override) -> None:
        """Check that an override of a group names one of its options.

        Raises:
            UsageError: it does not.
        """
        group = override.key_or_group
        if group not in self.groups or override.is_delete():
            return
        value = override.value()
        if value is None and group == "experiment":
            return
        options = list(self.groups[group])
        if value not in options:
            raise UsageError(
                f"{group}={as_written(value)} is not an option of {group};"
                f" {hint(value, options, f'{group}=')}"
            )

    def check_key(self, override: Override) -> None:
        """Check that an override names a setting, and one that may be set, added or removed.

        Raises:
            UsageError: it does not.
        """
        key = override.key_or_group or str(override.input_line)
        section, _, name = key.partition(".")
        if override.is_delete():
            self._check_deletion(key)
        if section == "trainer" and name in _NOT_OF_THE_TRAINER:
            raise UsageError(f"{key} {_NOT_OF_THE_TRAINER[name]}")
        is_known = key in self.settings or key in self.groups
        if is_known or override.is_add() or section == "hydra" or "/" in key:
            return
        if key.startswith("placement.device_map."):
            return
        self._check_argument(key)
        if section in ("callbacks", "logger") and name and "." not in name and not self._owner(key):
            raise UsageError(f"{key} is not there yet, and takes a plus to be added: +{key}=...")
        owner = self._owner(key)
        if owner is not None:
            raise UsageError(f"{key} is a setting of {owner}; add {owner} to use it.")
        raise UsageError(f"{key} is not a setting; {self.remedy(key)}")

    def remedy(self, key: str) -> str:
        """Suggest what may have been meant: a setting of the same section, or else any other."""
        section, _, name = key.partition(".")
        siblings = [each for each in self.settings if each.startswith(f"{section}.")]
        if siblings:
            # By what comes after the section, which all of them share.
            tails = [each.partition(".")[2] for each in siblings]
            near = meant(name, tails) and f"{section}.{meant(name, tails)}"
        else:
            near = meant(key, self.settings, cutoff=0.7)
        return f"did you mean {near}?" if near else f"there are {', '.join(siblings or self.top)}."

    def _check_deletion(self, key: str) -> None:
        """Refuse to remove what a run needs: all but arguments of classes of others."""
        if key in self.groups:
            options = list(self.groups[key])
            instead = "none" if "none" in options else "|".join(options)
            if key != "experiment":
                raise UsageError(
                    f"~{key} takes away a section that a run needs; choose one of its options,"
                    f" {key}={instead}."
                )
        elif key.startswith("placement.device_map."):
            raise UsageError(
                f"~{key} takes an entry out of a list, or a range out of a mapping, that has to"
                " name all blocks; give the whole of it, placement.device_map=[...]."
            )
        elif key in self.settings and key.partition(".")[0] not in FREE_SECTIONS:
            raise UsageError(
                f"~{key} takes away a setting that a run needs; leave this out, and its default"
                f" holds, or give a value, {key}=..."
            )

    def _check_argument(self, key: str) -> None:
        """Tell how to add an argument of a class of others that no config file has."""
        part, _, name = key.rpartition(".")
        target = self.settings.get(f"{part}._target_")
        if key.partition(".")[0] not in FREE_SECTIONS or target is None:
            return
        make = find_target(part, OmegaConf.create({"_target_": target}))
        parameters = arguments_of(make, _N_GIVEN.get(part, 0))
        if parameters is None:
            raise UsageError(f"{key} is not a setting; to pass it on as it is, write +{key}=...")
        arguments = [parameter.name for parameter in parameters]
        if name in arguments:
            raise UsageError(
                f"{key} is an argument of {target} that has no default here, and takes a plus to be"
                f" added: +{key}=..."
            )
        near = meant(name, arguments)
        if near is not None:
            full = f"{part}.{near}"
            written = full if full in self.settings else f"+{full}=..."
            raise UsageError(f"{key} is not a setting; did you mean {written}?")
        raise UsageError(
            f"{key} is not a setting, and {target} has no such argument; it takes"
            f" {', '.join(arguments) or 'none'}."
        )

    def _owner(self, key: str) -> str | None:
        """Return the option of the key's group that has it, such as data=csv for data.path."""
        group, _, name = key.partition(".")
        first = name.partition(".")[0]
        if f"{group}.{first}" in self.settings:
            return None
        for option, path in self.groups.get(group, {}).items():
            if first and first in OmegaConf.to_container(OmegaConf.load(path)):  # type: ignore[operator]
                return f"{group}={option}"
        return None


def options_of_groups(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Return the files of the options, by config group and option, of all folders of configs."""
    groups: dict[str, dict[str, Path]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*.yaml")):
            groups.setdefault(path.parent.name, {}).setdefault(path.stem, path)
    return groups


def full_names(config: DictConfig) -> dict[str, Any]:
    """Return the settings of a config by their full names, references as they are written."""
    found: dict[str, Any] = {}

    def visit(node: DictConfig, prefix: str) -> None:
        for key in node:
            name, child = f"{prefix}{key!s}", node._get_node(key)
            assert isinstance(child, Node)
            found[name] = child if isinstance(child, DictConfig) else child._value()
            if isinstance(child, DictConfig) and not child._is_none():
                visit(child, f"{name}.")

    visit(config, "")
    return found
