import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.peers import systems as listed
from benchmarks.peers.build import build_of
from benchmarks.peers.command import PEERS
from benchmarks.peers.shapes import SHAPES, parse_shape
from benchmarks.peers.systems import systems, threads_of
from benchmarks.shapes import Shape
from benchmarks.worker import importing_from
from gru_parallel.errors import UsageError
from tests.benchmarks.peers_rounds import EARLIER

ROOT = Path(__file__).parents[2]


def test_the_shapes_have_every_size_that_is_asked_for() -> None:
    shapes = SHAPES.values()
    assert {shape.hidden_size for shape in shapes} >= {64, 128, 256, 512}
    assert {shape.batch_size for shape in shapes} >= {4, 32, 128}
    assert {shape.n_steps for shape in shapes} >= {96, 512, 4_096}
    assert {shape.num_layers for shape in shapes} >= {4, 8, 16}


def test_a_shape_is_given_by_its_name_or_its_sizes() -> None:
    assert parse_shape("few-rows") == parse_shape("128,4,512,4") == Shape(128, 4, 512, 4)


def test_every_system_is_listed_with_its_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "CORES", ("native", "fused"))
    monkeypatch.setattr(listed, "USUAL_CORE", "fused")
    monkeypatch.setattr(listed, "WITH_W", ("zero_bubble",))
    plans: dict[str, list[str]] = {}
    for variant in systems():
        plans.setdefault(variant.system, []).append(variant.plan_name)
    plans.pop("torchgpipe", None)
    assert {system: len(own) for system, own in plans.items()} == {
        "nn.GRU 1 thread": 1,
        "nn.GRU 2 threads": 1,
        "model parallel": 1,
        "torch pipelining": 7,
        "threads native": 3,
        "threads fused": 19,
        "processes native": 3,
        "processes fused": 13,
    }
    assert "zero_bubble M=1 C=16" in plans["threads fused"]


def test_names_tell_all_plans_apart() -> None:
    variants = [*PEERS.variants, *threads_of(EARLIER.build)]
    assert len({variant.name for variant in variants}) == len(variants)


def test_processes_of_another_build_import_its_package_and_nothing_else_of_it(
    tmp_path: Path,
) -> None:
    package = tmp_path / "gru_parallel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "benchmarks").mkdir()
    before = list(sys.path)
    with build_of(tmp_path) as build:
        assert build.commit == tmp_path.name
        with (
            importing_from(build.folder),
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        ):
            # Nothing of this module, which imports more of the package than there is.
            ask = "__import__('gru_parallel').__file__, __import__('benchmarks').__file__"
            package_file, benchmarks_file = pool.submit(eval, ask).result()
    assert Path(package_file) == Path(build.folder, "gru_parallel", "__init__.py")
    assert Path(benchmarks_file).parent == ROOT / "benchmarks"
    assert sys.path == before


def test_the_package_of_a_checkout_is_linked_into_a_folder_of_its_own() -> None:
    with build_of(ROOT) as build:
        assert [path.name for path in Path(build.folder).iterdir()] == ["gru_parallel"]
        assert Path(build.folder, "gru_parallel", "__init__.py").is_file()


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="git worktree add"), build_of(tmp_path):
        pass
