"""What `import gru_parallel` gives, and that nothing is imported before it is asked for."""

from importlib import import_module
from importlib.metadata import version

import pytest

import gru_parallel
from tests.imports import heavy_imports

ROOMS = ("gru_parallel", "gru_parallel.data", "gru_parallel.ranks", "gru_parallel.training")


@pytest.mark.parametrize("code", ["import gru_parallel", "from gru_parallel import Plan"])
def test_what_needs_no_torch_imports_none(code: str) -> None:
    assert heavy_imports(code) == []


def test_a_name_that_needs_torch_imports_it() -> None:
    """Keeps the test above honest."""
    assert "torch" in heavy_imports("from gru_parallel import GRU", end_at="torch")


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    package = import_module(room)

    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)


def test_a_name_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'gru_parallel' has no attribute 'LSTM'"):
        _ = gru_parallel.LSTM


def test_the_version_is_that_of_the_package() -> None:
    assert gru_parallel.__version__ == version("gru-parallel")
