"""Where conf/ and docs/ are: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf


def conf_dir() -> Path:
    """Return the folder of the yaml files."""
    return _folder("conf")


def page(name: str) -> str:
    """Return the path of a page of the documentation; in conf/ it is ${page:settings.md}."""
    return str(_folder("docs") / name)


def _folder(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / name, package.parent / name
    return inside if inside.is_dir() else beside


OmegaConf.register_new_resolver("page", page, replace=True)
