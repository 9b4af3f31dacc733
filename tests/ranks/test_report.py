from gru_parallel.ranks.report import LONGEST_ACTIVITY, PublishedActivity, Report, described


def test_what_a_rank_does_survives_the_store() -> None:
    activity = PublishedActivity("2F0.3", waits=True, for_s=1.5, n_beats=3)

    assert PublishedActivity.from_json(activity.to_json().encode()) == activity


def test_a_report_survives_the_store() -> None:
    report = Report.failed(2, PublishedActivity("2F0.3", waits=False), ValueError("größer"))

    assert Report.from_json(report.to_json().encode()) == report
    assert report.happened == "rank 2 failed while 2F0.3: ValueError: größer"


def test_the_notes_of_an_error_are_shown() -> None:
    error = ValueError("odd")
    error.add_note("stage 2 on cpu:2")

    assert described(error) == "ValueError: odd\nstage 2 on cpu:2"


def test_a_long_activity_is_cut() -> None:
    activity = PublishedActivity("x" * 1000, waits=False)

    assert len(PublishedActivity.from_json(activity.to_json().encode()).what) == LONGEST_ACTIVITY


def test_a_silent_rank_may_still_read_a_report_but_not_one_whose_process_ended() -> None:
    assert not Report.silent(2, 30.0, None).is_gone
    assert Report.ended(2, None).is_gone
