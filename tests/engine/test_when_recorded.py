"""Which calls are recorded, when, and when what was recorded is given back."""

import gc
import warnings
import weakref
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from torch import Tensor, nn

from gru_parallel.engine import graphs
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import DropoutKey, GRUBlock, StackModel, SumLoss, Windows
from gru_parallel.schedule import Cell, Op
from gru_parallel.stage.cpu_recorder import CPURecorder
from gru_parallel.stage.own_code import foreign_code
from tests.builders import MSE, N_CHANNELS, build_model, make_batch, make_plan
from tests.engine.recording import (
    SMALL_PLAN,
    assert_same,
    n_recorded,
    reason,
    short_batch,
    small_model,
    train,
)

pytestmark = pytest.mark.usefixtures("little_to_collect", "recorded_from_the_second_call")


def test_other_shapes_run_as_they_do_without_and_then_have_graphs_of_their_own() -> None:
    sizes = [3, 3, 3, 2, 3, 2, 3]
    found: list[list[Tensor]] = [[], []]
    reasons = []
    for results, wanted in zip(found, (False, True), strict=True):
        with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            for size in sizes:
                results.append(engine.train_step(Windows(*short_batch(size))).detach())
                reasons += [reason(engine)] if wanted else []
    assert_same(*found)
    assert [each is None for each in reasons] == [0, 1, 1, 0, 1, 1, 1]


def test_a_step_that_is_not_recorded_yet_has_the_memory_of_those_that_are() -> None:
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine:

        def train_with(*sizes: int) -> list[bool]:
            replayed = []
            for size in sizes:
                engine.train_step(Windows(*short_batch(size)))
                replayed.append(reason(engine) is None)
            return replayed

        assert train_with(3, 3) == [False, True]
        assert engine._graphs is not None
        (recorded,) = engine._graphs._recorded
        recording = weakref.ref(recorded.passes[0]._recordings[Op.F, Cell(0, 0)][0])
        del recorded
        # A prediction keeps nothing for B, so there is room for both.
        engine.predict(Windows(short_batch(2)[0]))
        assert recording() is not None
        gc.disable()
        try:
            assert train_with(2) == [False]
            assert recording() is None
        finally:
            gc.enable()
        # What had been recorded is again, at its next call.
        assert train_with(3, 2, 3, 2) == [True] * 4


def test_where_sizes_never_settle_what_is_recorded_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_KINDS", 2)
    record = graphs.Graphs._record
    with (
        patch.object(graphs.Graphs, "_record", autospec=True, side_effect=record) as recording,
        ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine,
    ):
        engine.train_step(Windows(*short_batch(3)))
        for rare in (1, 2, 4, 5, 6):
            engine.train_step(Windows(*short_batch(3)))
            assert reason(engine) is None
            engine.train_step(Windows(*short_batch(rare)))
    # Given back as often as the first calls of two kinds may need it.
    assert recording.call_count == 1 + 2


def test_no_more_kinds_are_recorded_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_KINDS", 2)
    monkeypatch.setattr(graphs, "N_TO_REPLACE", 5)
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine:
        for size in [1, 2, 3] * 2:
            engine.train_step(Windows(*short_batch(size)))
        assert n_recorded(engine) == graphs.N_KINDS
        for _ in range(graphs.N_TO_REPLACE + 1):
            engine.train_step(Windows(*short_batch(3)))
        # One that is called again and again takes the place of another.
        assert reason(engine) is None
        assert n_recorded(engine) == graphs.N_KINDS


def test_closing_gives_back_what_was_recorded() -> None:
    engine = ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True)
    train(engine, 3)
    assert n_recorded(engine) > 0
    engine.close()
    assert n_recorded(engine) == 0
    train(engine, 3)
    assert n_recorded(engine) > 0
    engine.close()


class Waiting(nn.Linear):
    """Looks at its inputs, which nothing that is recorded can do."""

    stepwise = True

    def forward(self, x: Tensor) -> Tensor:
        """Scale what is large."""
        return super().forward(x if x.abs().max().item() < 1e6 else x / 1e6)


def with_waiting_encoder() -> StackModel:
    model = small_model()
    encoder = Waiting(N_CHANNELS, model.encoder.out_features).double()
    encoder.load_state_dict(model.encoder.state_dict())
    model.encoder = encoder
    return model


@pytest.fixture
def by_default_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(graphs, "BY_DEFAULT", frozenset({"cpu"}))
    return


@pytest.mark.usefixtures("by_default_on_the_cpu")
def test_code_of_the_users_own_is_not_recorded_by_default() -> None:
    with ThreadEngine(with_waiting_encoder(), make_plan(**SMALL_PLAN), MSE) as engine:
        with pytest.warns(RuntimeWarning, match="use engine.graphs=true") as said:
            train(engine)
        assert len(said) == 1
        assert "Waiting may do what a replay would leave out" in str(engine.why_not_replayed)
    loss = SumLoss("mine", MSE.total, MSE.count)
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), loss) as engine:
        with pytest.warns(RuntimeWarning, match="The loss mine"):
            engine.train_step(Windows(*short_batch()))
        assert "The loss mine" in str(engine.why_not_replayed)


@pytest.mark.usefixtures("by_default_on_the_cpu")
def test_what_has_been_recorded_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def noted(*arguments: Any) -> str | None:
        asked.append(arguments)
        return foreign_code(*arguments)

    monkeypatch.setattr(graphs, "foreign_code", noted)
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE) as engine:
        for step in range(3):
            asked.clear()
            engine.train_step(Windows(*short_batch()), step)
            assert bool(asked) == (step < 2)
        assert reason(engine) is None


@pytest.mark.usefixtures("by_default_on_the_cpu")
def test_a_recording_that_fails_is_said_once_and_done_without() -> None:
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=False) as engine:
        expected = train(engine)
    with (
        patch.object(CPURecorder, "record", side_effect=RuntimeError("out of streams")),
        ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE) as engine,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        found = train(engine)
    assert_same(found, expected)
    assert [str(w.message) for w in caught] == [
        "The engine goes on without CUDA graphs, which are faster: recording a call failed:"
        " RuntimeError: out of streams"
    ]


def test_a_recording_that_fails_is_an_error_where_graphs_were_asked_for() -> None:
    with (
        ThreadEngine(with_waiting_encoder(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine,
        pytest.raises(RuntimeError, match="waits for a result") as caught,
    ):
        train(engine)
    assert any("engine.graphs=false goes without" in note for note in caught.value.__notes__)


def test_a_second_device_is_refused_where_graphs_were_asked_for() -> None:
    model = build_model(bidirectional=True)
    plan = make_plan(devices=["cpu:0+cpu:1", "cpu:2"])
    with pytest.raises(UsageError, match="second device"):
        ThreadEngine(model, plan, MSE, graphs=True)
    with ThreadEngine(model, plan, MSE) as engine:
        assert engine._graphs is None


@pytest.mark.usefixtures("by_default_on_the_cpu")
def test_truncation_goes_without_by_default() -> None:
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN, truncate=1), MSE) as engine:
        engine.train_step(Windows(*make_batch()))
        assert "truncation saves memory" in str(engine.why_not_replayed)


class Dropping(GRUBlock):
    """Drops by a rule of its own."""

    def drop(self, y: Tensor, layer: int, key: DropoutKey | None) -> Tensor:
        """Keep everything."""
        return y


class Calling(nn.Linear):
    """Does something around its forward."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call."""
        return super().__call__(*args, **kwargs)


def test_code_of_the_users_own_is_found_wherever_it_is() -> None:
    activation = nn.TransformerEncoderLayer(4, 2, activation=lambda x: x)
    for module in (Dropping(3, 4), Calling(3, 4), nn.Sequential(activation)):
        assert foreign_code([module], None) is not None
    for module in (build_model(), nn.TransformerEncoderLayer(4, 2)):
        assert foreign_code([module], None) is None
