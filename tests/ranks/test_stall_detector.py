from gru_parallel.ranks.report import Activity as Seen
from gru_parallel.ranks.stall_detector import STALLED_AFTER_S, StallDetector


def judged(first: dict[int, Seen | None], later: dict[int, Seen | None]) -> str:
    """What rank 0 says after it has seen the others twice."""
    detector = StallDetector(0.0)
    now = STALLED_AFTER_S + 1
    for rank, activity in first.items():
        detector.observe(rank, activity, 0.0)
    for rank, activity in later.items():
        detector.observe(rank, activity, now)
    assert detector.can_judge(now)
    return detector.judge(0, 10.0, now).happened


def test_a_rank_whose_beats_stop_does_not_run() -> None:
    said = judged(
        {1: Seen("2F0.3", True, 0.0, n_beats=7), 2: Seen("3F0.3", False, 0.0, n_beats=7)},
        {1: Seen("2F0.3", True, 0.0, n_beats=7), 2: Seen("3F0.3", False, 0.0, n_beats=9)},
    )

    assert said == (
        "rank 1 has not answered for engine.timeout_s=10 s; it was last seen while waiting: 2F0.3"
    )


def test_where_all_run_it_is_the_rank_that_has_been_busy_for_longest() -> None:
    said = judged(
        {},
        {
            1: Seen("1F0.3", waits=False, since=9.0, n_beats=9),
            2: Seen("2F0.3", waits=False, since=1.0, n_beats=9),
            3: Seen("3F0.3", waits=True, since=0.0, n_beats=9),
        },
    )

    assert said == (
        "rank 2 has not answered for engine.timeout_s=10 s; it was last seen while 2F0.3"
    )


def test_where_every_rank_waits_all_are_named() -> None:
    said = judged({}, {2: Seen("b", True, 0.0), 1: Seen("a", True, 0.0)})

    assert said == (
        "rank 0 got no answer for engine.timeout_s=10 s, and every other rank waits too: "
        "rank 1 waiting: a; rank 2 waiting: b"
    )


def test_a_rank_that_has_never_published_does_not_run() -> None:
    assert judged({1: None}, {1: None}) == "rank 1 has not answered for engine.timeout_s=10 s"
