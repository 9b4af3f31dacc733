import pytest

from gru_parallel.errors import UsageError
from gru_parallel.ranks import Launch
from tests.rank_processes import rank_environment

ENVIRONMENT = rank_environment(1, 4, 29500)


def test_a_process_that_no_launcher_started_has_no_launch() -> None:
    assert Launch.from_environment({"PATH": "/bin"}) is None


def test_what_torchrun_sets_is_read() -> None:
    launch = Launch.from_environment(
        ENVIRONMENT | {"TORCHELASTIC_RESTART_COUNT": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    )

    assert launch == Launch(
        rank=1,
        world_size=4,
        local_rank=1,
        local_world_size=4,
        master_addr="127.0.0.1",
        master_port=29500,
        attempt=2,
        uses_agent_store=True,
    )
    assert launch.address == "127.0.0.1:29500"


def test_rank_0_hosts_the_store_unless_the_launcher_does() -> None:
    first = ENVIRONMENT | {"RANK": "0"}
    hosts = [
        launch.hosts_store
        for variables in (first, first | {"TORCHELASTIC_USE_AGENT_STORE": "True"}, ENVIRONMENT)
        if (launch := Launch.from_environment(variables)) is not None
    ]

    assert hosts == [True, False, False]


def test_missing_variables_are_named() -> None:
    with pytest.raises(UsageError, match="LOCAL_RANK, MASTER_PORT is missing: start with torchrun"):
        Launch.from_environment(ENVIRONMENT | {"LOCAL_RANK": "", "MASTER_PORT": ""})


def test_one_variable_that_is_left_over_may_be_unset() -> None:
    with pytest.raises(UsageError, match="unset RANK and WORLD_SIZE for a run without ranks"):
        Launch.from_environment({"WORLD_SIZE": "1"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("RANK", "4", "RANK must be a whole number from 0 to 3; it is '4'"),
        ("WORLD_SIZE", "four", "WORLD_SIZE must be a whole number of 1 or more; it is 'four'"),
        ("MASTER_PORT", "0", "MASTER_PORT must be a whole number from 1 to 65535; it is '0'"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Launch.from_environment(ENVIRONMENT | {name: text})
