import pytest

from gru_parallel.schedule import Action, Event, Op, Timeline, build_schedule, simulate


def timeline(n_stages: int, *events: tuple[str, float, float]) -> Timeline:
    return Timeline(
        n_stages,
        tuple(Event(Action.parse(text), start_ms, end_ms) for text, start_ms, end_ms in events),
    )


def test_a_step_lasts_from_the_first_start_to_the_last_end() -> None:
    assert timeline(2, ("1F0.0", 7.0, 9.0), ("0F0.0", 5.0, 6.0)).step_ms == 4.0


def test_hand_overs_are_not_work() -> None:
    run = timeline(1, ("0RECV_F0.0", 0.0, 3.0), ("0F0.0", 3.0, 5.0), ("0SEND_F0.0", 5.0, 6.0))
    assert run.busy_ms(0) == 2.0
    assert run.bubble == pytest.approx(1 - 2 / 6, abs=1e-12)


def test_forward_backward_and_weights_gradient_are_work() -> None:
    run = timeline(1, ("0F0.0", 0.0, 1.0), ("0B0.0", 1.0, 3.0), ("0W0.0", 3.0, 7.0))
    assert run.busy_ms(0) == 7.0
    assert run.bubble == 0.0


def test_the_bubble_counts_stages_that_did_nothing() -> None:
    assert timeline(4, ("2F0.0", 0.0, 1.0)).bubble == 0.75


def test_a_timeline_without_events_took_no_time_and_has_no_bubble() -> None:
    assert (timeline(2).step_ms, timeline(2).bubble) == (0.0, 0.0)


def test_the_events_of_a_stage_come_by_their_start() -> None:
    run = timeline(2, ("0B0.0", 4.0, 5.0), ("1F0.0", 1.0, 2.0), ("0F0.0", 0.0, 1.0))
    assert [str(event.action) for event in run.stage_events(0)] == ["0F0.0", "0B0.0"]


def test_an_event_knows_its_duration() -> None:
    assert Event(Action.parse("0F0.0"), 1.5, 4.0).duration_ms == 2.5


def test_a_cell_is_kept_from_its_forward_to_the_end_of_its_backward() -> None:
    run = timeline(
        1,
        ("0F0.0", 0.0, 1.0),
        ("0F1.0", 1.0, 2.0),
        ("0B0.0", 2.0, 3.0),
        ("0F2.0", 3.0, 4.0),
        ("0B1.0", 4.0, 5.0),
        ("0B2.0", 5.0, 6.0),
    )
    assert run.peak_activations(0) == 2


def test_a_cell_is_kept_to_the_end_of_its_weights_gradient_where_that_is_separate() -> None:
    run = timeline(
        1,
        ("0F0.0", 0.0, 1.0),
        ("0B0.0", 1.0, 2.0),
        ("0F1.0", 2.0, 3.0),
        ("0W0.0", 3.0, 4.0),
        ("0F2.0", 4.0, 5.0),
        ("0B1.0", 5.0, 6.0),
        ("0B2.0", 6.0, 7.0),
        ("0W1.0", 7.0, 8.0),
        ("0W2.0", 8.0, 9.0),
    )
    assert run.peak_activations(0) == 2


def test_a_cell_whose_backward_begins_anew_is_kept_from_there() -> None:
    run = timeline(
        1,
        ("0F0.0", 0.0, 1.0),
        ("0F1.0", 1.0, 2.0),
        ("0F2.0", 2.0, 3.0),
        ("0B0.0", 3.0, 4.0),
        ("0B1.0", 4.0, 5.0),
        ("0W0.0", 5.0, 6.0),
        ("0W1.0", 6.0, 7.0),
        ("0B2.0", 7.0, 8.0),
    )
    assert (run.peak_activations(0), run.peak_activations(0, since=Op.B)) == (3, 2)
    without_w = timeline(1, ("0F0.0", 0.0, 1.0), ("0F1.0", 1.0, 2.0), ("0B0.0", 2.0, 3.0))
    assert without_w.peak_activations(0, since=Op.B) == 1


def test_a_forward_without_backward_keeps_nothing() -> None:
    assert timeline(1, ("0F0.0", 0.0, 1.0), ("0F0.1", 1.0, 2.0)).peak_activations(0) == 0


WITH_WEIGHTS = timeline(
    2,
    ("0F0.1", 0.0, 1.0),
    ("0SEND_F0.1", 1.0, 1.5),
    ("0F0.0", 1.5, 2.0),
    ("0B0.1", 3.0, 4.0),
    ("0B0.0", 4.0, 5.0),
    ("0W0.1", 5.0, 6.0),
    ("0W0.0", 7.0, 8.0),
    ("1F0.0", 1.0, 2.0),
)


def test_the_cells_alive_change_where_one_starts_and_where_its_last_action_ends() -> None:
    assert WITH_WEIGHTS.cells_alive(0) == [(0.0, 1), (1.5, 2), (6.0, 1), (8.0, 0)]
    assert WITH_WEIGHTS.cells_alive(0, since=Op.B) == [(3.0, 1), (4.0, 2), (6.0, 1), (8.0, 0)]


@pytest.mark.parametrize("name", ["gpipe", "one_f_one_b", "zero_bubble", "naive"])
@pytest.mark.parametrize("cells", [(1, 1), (1, 4), (3, 2), (4, 1)])
def test_a_schedule_knows_what_its_stages_keep_whatever_actions_take(
    name: str, cells: tuple[int, int]
) -> None:
    schedule = build_schedule(name, 3, *cells)

    for costs in ({}, {Op.B: 5.0}, {Op.W: 0.0}):
        run = simulate(schedule, lambda action, costs=costs: costs.get(action.op, 1.0))
        since_b = [run.peak_activations(stage, Op.B) for stage in range(3)]
        waiting = since_b if schedule.separates_weights else [0, 0, 0]
        kept = [run.peak_activations(stage) for stage in range(3)]
        assert schedule.peak_cells == tuple(zip(kept, waiting, strict=True))


def test_one_cell_makes_room_for_the_next_at_the_same_moment() -> None:
    run = timeline(
        1, ("0F0.0", 0.0, 1.0), ("0B0.0", 1.0, 3.0), ("0F1.0", 3.0, 4.0), ("0B1.0", 4.0, 6.0)
    )
    assert run.cells_alive(0) == [(0.0, 1), (3.0, 0), (3.0, 1), (6.0, 0)]
    assert run.peak_activations(0) == 1


def test_no_cell_is_alive_on_a_stage_that_does_nothing_or_only_evaluates() -> None:
    assert WITH_WEIGHTS.cells_alive(1) == []
    assert timeline(2, ("0F0.0", 0.0, 1.0)).cells_alive(1) == []


def test_cells_whose_forward_is_not_in_the_timeline_are_not_counted() -> None:
    run = timeline(1, ("0B0.0", 0.0, 1.0), ("0F1.0", 1.0, 2.0), ("0B1.0", 2.0, 3.0))
    assert run.cells_alive(0) == [(1.0, 1), (3.0, 0)]
