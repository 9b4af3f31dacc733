import pytest

from benchmarks.shapes import Shape
from benchmarks.speed import SPEED
from gru_parallel.errors import UsageError


def test_a_shape_is_read_in_the_order_of_its_letters() -> None:
    assert Shape.parse("128,32,96,4") == Shape(
        hidden_size=128, batch_size=32, n_steps=96, num_layers=4
    )


@pytest.mark.parametrize(
    "text", ["", "128", "128,32,96", "128,32,96,4,5", "128,x,96,4", "-1,2,3,4"]
)
def test_anything_but_four_whole_numbers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="four whole numbers"):
        Shape.parse(text)


@pytest.mark.parametrize(("text", "message"), [("0,32,96,4", "zero"), ("8,4,16,1", "L >= 2")])
def test_sizes_that_cannot_run_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shape.parse(text)


def test_the_default_shapes_are_those_of_the_targets() -> None:
    sizes = {(shape.hidden_size, shape.batch_size) for shape in SPEED.shapes}
    assert sizes == {(128, 32), (128, 64), (256, 32), (256, 64)}
    assert {(shape.n_steps, shape.num_layers) for shape in SPEED.shapes} == {(96, 4)}
