"""Names of columns stay text, and a device map takes the place of the one before."""

import pytest

from gru_parallel.config.for_hydra import for_hydra, without_added
from gru_parallel.config.overrides import parse_override


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.target=1_1", "data.target='1_1'"),
        ("data.target=1e3", "data.target='1e3'"),
        ("data.target=[1_1,11, true,OT]", "data.target=['1_1','11', 'true',OT]"),
        ("+data.columns=[-1,.5,nan]", "+data.columns=['-1','.5','nan']"),
        ("data.time_column=2", "data.time_column='2'"),
        ("data.future=[1e3,true]", "data.future=['1e3','true']"),
        ("data.static=[1_1]", "data.static=['1_1']"),
        ("data.weight=007", "data.weight='007'"),
        ("data.target= 2 ", "data.target= '2' "),
        # Not a part of one.
        ("data.target=PM 2.5", "data.target=PM 2.5"),
        ("data.target=2.5 PM", "data.target=2.5 PM"),
        ("data.columns=[ch 0,ch 1, 2]", "data.columns=[ch 0,ch 1, '2']"),
        ("data.time_column=Unnamed: 0", "data.time_column=Unnamed: 0"),
        # A sweep stays one.
        ("data.target=1,2", "data.target='1','2'"),
        # What is text already, quoted by the user, or no name stays as it is.
        ("data.target=OT", "data.target=OT"),
        ("data.target=x1_1", "data.target=x1_1"),
        ("data.target=null", "data.target=null"),
        ("data.target='a,1_1,b'", "data.target='a,1_1,b'"),
        ("data.series_column=none", "data.series_column=none"),
        ("data.horizon=8", "data.horizon=8"),
        ("model.target=1_1", "model.target=1_1"),
    ],
)
def test_a_name_that_looks_like_a_number_is_quoted(override: str, expected: str) -> None:
    assert for_hydra([override]) == [expected]


@pytest.mark.parametrize("name", ["PM 2.5", "ch 0", "Unnamed: 0", "2.5 PM", "1_1 true", "x 1_1"])
def test_a_name_with_blanks_is_the_text_that_was_written(name: str) -> None:
    (override,) = for_hydra([f"data.target={name}"])

    assert parse_override(override).value() == name


def test_a_device_map_takes_the_old_one_away_first() -> None:
    given = ["seed=1", "placement.device_map=[0,1]"]

    assert for_hydra(given) == ["seed=1", "++placement.device_map=null", given[1]]
    assert without_added(for_hydra(given)) == given


def test_what_the_user_has_written_is_not_taken_for_what_was_added() -> None:
    given = ["++placement.device_map=null", "seed=1"]

    assert without_added(for_hydra(given)) == given
