import json
import time

import pytest

from gru_parallel.ranks.report import LONGEST_ACTIVITY, Activity, Report, described


def test_what_a_rank_does_survives_the_store() -> None:
    activity = Activity("2F0.3", waits=True, since=time.monotonic() - 1.5, n_beats=3)
    read = Activity.from_json(activity.to_json().encode())

    assert read == activity._replace(since=read.since)
    assert read.since == pytest.approx(activity.since, abs=0.5)


def test_other_ranks_are_told_for_how_long_because_they_do_not_share_a_clock() -> None:
    activity = Activity("2F0.3", waits=True, since=time.monotonic() - 1.5)
    _, _, for_s, _ = json.loads(activity.to_json())

    assert for_s == pytest.approx(1.5, abs=0.5)


def test_a_report_survives_the_store() -> None:
    report = Report.failed(2, Activity("2F0.3", False, 0.0), ValueError("größer"))

    assert Report(*json.loads(json.dumps(report))) == report
    assert report.happened == "rank 2 failed while 2F0.3: ValueError: größer"


def test_the_notes_of_an_error_are_shown() -> None:
    error = ValueError("odd")
    error.add_note("stage 2 on cpu:2")

    assert described(error) == "ValueError: odd\nstage 2 on cpu:2"


def test_a_long_activity_is_cut() -> None:
    activity = Activity("x" * 1000, False, 0.0)

    assert len(Activity.from_json(activity.to_json().encode()).what) == LONGEST_ACTIVITY


def test_a_silent_rank_may_still_read_a_report_but_not_one_whose_process_ended() -> None:
    assert not Report.silent(2, 30.0, None).is_gone
    assert Report.ended(2, None).is_gone
