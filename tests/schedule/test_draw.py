from textwrap import dedent

from gru_parallel.schedule import build_schedule, draw_lists, forward_only


def test_lists_are_drawn_place_by_place() -> None:
    assert draw_lists(build_schedule("one_f_one_b", 2, 2, 1).actions) == dedent("""\
        stage 0 | 0F0.0 0F1.0 0B0.0 0B1.0
        stage 1 | 1F0.0 1B0.0 1F1.0 1B1.0""")


def test_a_mark_widens_its_column() -> None:
    actions = build_schedule("one_f_one_b", 2, 2, 1).actions
    assert draw_lists(actions, {(1, 2)}) == dedent("""\
        stage 0 | 0F0.0 0F1.0 0B0.0   0B1.0
        stage 1 | 1F0.0 1B0.0 >1F1.0< 1B1.0""")


def test_columns_far_from_every_mark_are_left_out() -> None:
    actions = forward_only(build_schedule("gpipe", 1, 1, 40)).actions
    assert draw_lists(actions, {(0, 20), (0, 21)}) == (
        "stage 0 | ... 0F0.14 0F0.15 0F0.16 0F0.17 0F0.18 0F0.19 >0F0.20< "
        ">0F0.21< 0F0.22 0F0.23 0F0.24 0F0.25 0F0.26 0F0.27 ..."
    )


def test_without_marks_every_column_is_drawn() -> None:
    assert "0F0.39" in draw_lists(forward_only(build_schedule("gpipe", 1, 1, 40)).actions)
