"""conf/, the schema and docs/settings.md say the same."""

import inspect
from dataclasses import fields
from pathlib import Path

import lightning.pytorch as pl
import pytest
from omegaconf import DictConfig

from gru_parallel.config.overrides import compose_config
from gru_parallel.config.schema import SCHEMAS

DECIDED_ELSEWHERE = {
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "logger",
    "callbacks",
    "plugins",
    "default_root_dir",
    "barebones",
    "use_distributed_sampler",
    "sync_batchnorm",
    "enable_autolog_hparams",
    "model_registry",
}


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section in SCHEMAS for name in SCHEMAS[section]]
)
def test_the_yaml_of_a_section_has_the_keys_of_its_schema(section: str, name: str) -> None:
    composed = compose_config([f"{section}={name}"] if name else [])

    assert set(composed[section]) == {field.name for field in fields(SCHEMAS[section][name])}


def test_the_trainers_arguments_are_lightnings() -> None:
    own = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert set(compose_config([]).trainer) == own - DECIDED_ELSEWHERE


@pytest.mark.parametrize("name", SCHEMAS["data"])
def test_every_setting_is_documented(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    composed = compose_config([f"data={name}"])
    for section in ("data", "model", "placement", "schedule", "engine"):
        assert isinstance(composed[section], DictConfig)
        for key in composed[section]:
            assert f"`{section}.{key}`" in text
