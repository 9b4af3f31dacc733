"""conf/, the schema and docs/settings.md say the same."""

import inspect
from dataclasses import fields
from pathlib import Path

import lightning.pytorch as pl
import pytest
from omegaconf import DictConfig

from gru_parallel.assembly.cluster import described_cluster
from gru_parallel.config.cluster_section import (
    ClusterFile,
    DescribedCluster,
    DevicesConfig,
    LinkConfig,
    MachinesConfig,
)
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_cluster import read_cluster
from gru_parallel.config.schema import SCHEMAS
from gru_parallel.rules import setting_of
from tests.cli.composing import load_configs_once

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


@pytest.fixture(autouse=True)
def _configs_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    load_configs_once(monkeypatch)


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section in SCHEMAS for name in SCHEMAS[section]]
)
def test_the_yaml_of_a_section_has_the_keys_of_its_schema(section: str, name: str) -> None:
    composed = compose_config([f"{section}={name}"] if name else [])

    schema = SCHEMAS[section][name]
    assert set(composed[section]) == {setting_of(field.name) for field in fields(schema)}


def test_the_trainers_arguments_are_lightnings() -> None:
    own = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert set(compose_config([]).trainer) == own - DECIDED_ELSEWHERE


@pytest.mark.parametrize("name", SCHEMAS["data"])
def test_every_setting_is_documented(name: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    composed = compose_config([f"data={name}"])
    sections = ("checkpoint", "data", "model", "placement", "schedule", "engine", "watch")
    for section in sections:
        assert isinstance(composed[section], DictConfig)
        for key in composed[section]:
            assert f"`{section}.{key}`" in text


def test_every_key_of_a_cluster_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs"
    settings, page = ((docs / name).read_text() for name in ("settings.md", "planning.md"))

    for schema in set(SCHEMAS["cluster"].values()):
        assert all(f"`cluster.{field.name}`" in settings for field in fields(schema))
    for part in (MachinesConfig, DevicesConfig, LinkConfig):
        keys = {field.name for field in fields(part)} - {"devices"}
        assert all(f"`{key}`" in page for key in keys)


def test_the_cluster_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "mine.yaml").write_text(example)

    read = read_cluster(ClusterFile("file", str(tmp_path / "mine.yaml")))

    assert isinstance(read, DescribedCluster)
    names = described_cluster(read).device_names
    assert (names[5], names[-1], len(names)) == ("cuda:5", "cpu:15", 22)
