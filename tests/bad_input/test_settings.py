"""Whatever is wrong with a setting ends with status 2 and a line that says so; nothing is left."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random

import pytest

from tests.bad_input.arguments import wrong_arguments
from tests.bad_input.contradictions import contradictions
from tests.bad_input.settings import (
    beyond_all_bounds,
    wrong_names,
    wrong_parts_of_clusters,
    wrong_settings_of_verify,
    wrong_values,
)
from tests.bad_input.tries import Commands, Try, faults_of
from tests.bad_input.use import wrong_use

MOST_OF_A_KIND = 2
ONE_IN = 3
"""Of all tries, which are more than eight thousand, so many are made by the long test."""


def all_tries() -> list[Try]:
    return list(
        dict.fromkeys(
            chain(
                wrong_values(),
                wrong_names(),
                wrong_parts_of_clusters(),
                wrong_settings_of_verify(),
                wrong_arguments(),
                wrong_use(),
                beyond_all_bounds(),
                contradictions(8),
            )
        )
    )


def some_tries() -> Iterator[Try]:
    """Draw a few of each kind, always the same."""
    by_kind: dict[str, list[Try]] = {}
    for each in all_tries():
        by_kind.setdefault(each.kind, []).append(each)
    random = Random(0)
    for tries in by_kind.values():
        yield from random.sample(tries, min(1 + len(tries) // 50, MOST_OF_A_KIND))


@pytest.mark.usefixtures("finished_run")
def test_a_few_settings_of_each_kind_that_cannot_work_are_refused(
    all_commands: Commands, in_tmp_path: Path
) -> None:
    faults = faults_of(some_tries(), all_commands, in_tmp_path)

    assert not faults, "\n".join(faults)


@pytest.mark.long
@pytest.mark.usefixtures("finished_run")
def test_two_thousand_settings_that_cannot_work_are_refused(
    all_commands: Commands, in_tmp_path: Path
) -> None:
    tries = all_tries()[::ONE_IN]
    faults = faults_of(tries, all_commands, in_tmp_path)

    assert len(tries) >= 2000
    assert not faults, f"{len(faults)} of {len(tries)}\n" + "\n".join(faults)
