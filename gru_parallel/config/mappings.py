"""Checks that no mapping in overrides and files has a key twice."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraOverrideVisitor
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from gru_parallel.errors import UsageError


def check_keys(override: str) -> None:
    """Refuse an override in which a mapping has a key twice: of these, Hydra keeps the last.

    Args:
        override: as on the command line; it can be read.

    Raises:
        UsageError: see above.
    """
    if "{" not in override:
        return
    parser: Any = OverrideParser(CommonTokenStream(OverrideLexer(InputStream(override))))
    visitor = HydraOverrideVisitor(create_functions())
    for mapping in _mappings_of(parser.override()):
        keys = [visitor.visitDictKey(pair.dictKey()) for pair in mapping.dictKeyValuePair()]
        again = _first_again(keys)
        if again is not None:
            raise UsageError(f"{override} has the key {keys[again]} twice; write each key once.")


def check_files(folder: Path) -> None:
    """Check all yaml files of a folder; see `check_file`."""
    for path in sorted(folder.rglob("*.yaml")):
        check_file(path)


def check_file(path: Path) -> None:
    """Refuse a file that cannot be read, or in which a mapping has a key twice.

    Of two keys that are numbers, OmegaConf keeps the last.

    Args:
        path: of a yaml file.

    Raises:
        UsageError: see above.
        OSError: there is no such file.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), _LOADER)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise UsageError(f"{path} cannot be read: {error.problem}{line}.") from error
    read = yaml.SafeLoader("").construct_object
    for mapping in _mappings_in(root):
        nodes = [key for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)]
        again = _first_again([read(node) for node in nodes])
        if again is not None:
            line = nodes[again].start_mark.line + 1
            raise UsageError(
                f"{path} has the key {nodes[again].value} twice in one mapping, again in line"
                f" {line}; write each key once."
            )


# The one in C is ten times as fast, if PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _mappings_of(node: Any) -> Iterator[Any]:
    """Find the mappings in the tree of an override, outer ones first."""
    if isinstance(node, OverrideParser.DictContainerContext):
        yield node
    for child in getattr(node, "children", None) or ():
        yield from _mappings_of(child)


def _mappings_in(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    """Find the mappings in the tree of a yaml file, outer ones first."""
    if isinstance(node, yaml.MappingNode):
        yield node
        for pair in node.value:
            for part in pair:
                yield from _mappings_in(part)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _mappings_in(part)


def _first_again(keys: Sequence[Hashable]) -> int | None:
    """Return the index of the first key that repeats an earlier one."""
    seen: set[Hashable] = set()
    for index, key in enumerate(keys):
        if key in seen:
            return index
        seen.add(key)
    return None
