"""The command line of `search`: what is searched, and what must not be."""

import pytest

from gru_parallel.app import search_settings
from gru_parallel.app.search_settings import (
    SearchSettings,
    Space,
    check_search,
    read_search_line,
)
from gru_parallel.errors import UsageError


@pytest.mark.parametrize(
    ("text", "space"),
    [
        ("optimizer.lr=interval(1,2)", Space("optimizer.lr", low=1.0, high=2.0)),
        (
            "optimizer.lr=tag(log,interval(1e-4,1e-2))",
            Space("optimizer.lr", low=1e-4, high=1e-2, is_log=True),
        ),
        ("model.hidden_size=int(interval(4,8))", Space("model.hidden_size", low=4, high=8)),
        ("model.num_layers=range(1,9,2)", Space("model.num_layers", low=1, high=7, step=2)),
        ("model.num_layers=2,4", Space("model.num_layers", ("2", "4"))),
        # The same each time, or a search could not be taken up.
        (
            "model.num_layers=shuffle(5,1,4,2,3)",
            Space("model.num_layers", ("5", "1", "4", "2", "3")),
        ),
        (
            "model.num_layers=shuffle(range(1,9))",
            Space("model.num_layers", low=1, high=8, step=1),
        ),
        ("schedule=choice(gpipe,naive)", Space("schedule", ("gpipe", "naive"))),
    ],
)
def test_spaces_are_written_as_in_sweeps(text: str, space: Space) -> None:
    line = read_search_line([text, "n_trials=3", "seed=1"])

    assert line.spaces == (space,)
    assert line.spaces[0].is_whole == isinstance(space.low, int)
    assert line.settings == SearchSettings(n_trials=3)
    assert line.fixed == ("seed=1",)


def test_an_argument_that_is_added_is_searched_with_its_plus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_settings, "find_spec", lambda _: object())
    key = "+optimizer.weight_decay"
    line = read_search_line(["optimizer=sgd", f"{key}=interval(0.25,0.5)"])

    assert line.spaces == (Space(key, low=0.25, high=0.5),)
    assert line.spaces[0].name == "optimizer.weight_decay"
    assert check_search(line).optimizer["weight_decay"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing is to be searched;"),
        (["seed=0,1"], "would choose the luckiest seed;"),
        (["model.loss=mse,mae"], "losses of other forecasts or of another kind;"),
        (["data.horizon=1,2"], "losses of other forecasts or of another kind;"),
        (["data.horizon=int(interval(1,2))"], "losses of other forecasts or of another kind;"),
        (["++data.horizon=1,2"], "losses of other forecasts or of another kind;"),
        (["model.head=window,every_step"], "losses of other forecasts or of another kind;"),
        (["trainer.limit_val_batches=1,2"], "losses of other forecasts or of another kind;"),
        (["trainer.overfit_batches=1,2"], "losses of other forecasts or of another kind;"),
        (["optimizer.lr=interval(2,1)"], "the first number has to be below the second"),
        (["optimizer.lr=tag(log,interval(0,1))"], "with the tag log above 0"),
        (["optimizer.lr=tag(lgo,interval(1,2))"], "has another tag than log;"),
        (["optimizer.lr=interval(1e-3,inf)"], "has no end;"),
        (["optimizer.lr=interval(0,.1),0.3"], "gives a search no values;"),
        (["model.num_layers=tag(log,range(1,9))"], "has a tag, which only an interval can have;"),
        (["model.num_layers=range(0)"], "gives a search no values;"),
        (["model.hiden_size=4,8"], "did you mean model.hidden_size"),
        (["model.num_layers=1,2", "n_trials=0"], "n_trials=0 is not positive"),
        (["model.num_layers=1,2", "hydra.run.dir=x"], "folder=DIR"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_search_line(arguments)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


LIMIT = "trainer.limit_val_batches=10"
STREAMS = ("data.order=streams", "data.centre=none")
FILES = ("data=csv", "data.path=a.csv", "data.validation_path=b.csv", "data.split=[0.8,0,0.2]")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["data.input_length=24,48", "data.split_by=series"], "data.split_by=series"),
        (["data.min_input_length=2,4", "data.split_by=series"], "data.split_by=series"),
        (["data.input_length=24,48", *FILES], "data.validation_path=b.csv"),
        (
            ["data.input_length=24,48", "model.head=every_step", "data.centre=none"],
            "model.head=every_step",
        ),
        (["data.batch_size=16,64", LIMIT], LIMIT),
        (["data.batch_size=16,64", "trainer.limit_val_batches=0.5"], "limit_val_batches=0.5"),
        (["data.batch_size=16,64", "trainer.overfit_batches=2"], "trainer.overfit_batches=2"),
        (["data.batch_size=16,64", "trainer.fast_dev_run=true"], "trainer.fast_dev_run=true"),
        (["data.order=shuffled,streams", "data.centre=none", LIMIT], LIMIT),
        (["data.input_length=24,48", *STREAMS, LIMIT], LIMIT),
        (["data.input_length=24,48", LIMIT], None),
        (["data.input_length=24,48", "data.min_input_length=8", "data.split_by=series"], None),
        (["data.input_length=24,48", "data.min_input_length=8", *FILES], None),
        (["data.input_length=24,48", *STREAMS], None),
        (["data.batch_size=16,64", "trainer.limit_val_batches=1.0"], None),
        (["data.batch_size=16,64", "data.split_by=series"], None),
        (["model.num_layers=2,4", "data.split_by=series", LIMIT], None),
    ],
)
def test_what_would_choose_other_windows_to_validate_on_is_refused(
    arguments: list[str], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_settings, "find_spec", lambda _: object())
    line = read_search_line(arguments)
    if reason is None:
        check_search(line)
        return
    with pytest.raises(UsageError) as refused:
        check_search(line)

    name = arguments[0].partition("=")[0]
    assert f"{name} would choose other windows to validate on with " in str(refused.value)
    assert f"{reason}, and losses over other windows" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["experiment=etth1_96,etth1_192"], "(data.horizon=96, 192) would compare losses of other"),
        (["schedule=gpipe,zero_bubble", "model.core=native,fused"], None),
        (["optimizer=sgd,adam", "lr_scheduler=none,cosine"], None),
    ],
)
def test_what_the_options_of_a_group_give_is_looked_at_as_if_it_was_searched_by_name(
    arguments: list[str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_settings, "find_spec", lambda _: object())
    line = read_search_line([*arguments, "+data.path=a.csv"] if said else arguments)
    if said is None:
        check_search(line)
        return
    with pytest.raises(UsageError) as refused:
        check_search(line)

    assert f"{arguments[0]} {said}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_leaves_the_forecasts_the_same_may_be_searched() -> None:
    values = {
        "data.input_length": "24,48",
        "data.batch_size": "16,32",
        "data.centre": "last,standardize",
        "model.head": "window,decoder",
    }

    line = read_search_line([f"{name}={of}" for name, of in values.items()])

    assert [space.name for space in line.spaces] == list(values)
