"""The picture of a timeline: where its bars lie, what they are called, and the file."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.image import imread

from gru_parallel.report.timeline_colours import COLOURS, IDLE_COLOUR
from gru_parallel.report.timeline_picture import save_figure, timeline_figure
from gru_parallel.schedule import Action, Cell, Event, Op, Timeline

Simulated = Callable[..., Timeline]
Bar = tuple[int, str, float, float]  # stage, colour, start and end in ms

DEVICES = [f"cuda:{index}" for index in range(8)]


def draw(timeline: Timeline, devices: Sequence[str], path: Path) -> None:
    save_figure(timeline_figure(timeline, "a step", devices), path)


def axes_of(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def bars(axes: Axes) -> list[Bar]:
    found: list[Bar] = []
    for collection in axes.collections:
        (colour,) = {to_hex(face).upper() for face in to_rgba_array(collection.get_facecolor())}
        for path in collection.get_paths():
            box = path.get_extents()
            stage = round((box.y0 + box.y1) / 2)
            found.append((stage, colour, round(float(box.x0), 9), round(float(box.x1), 9)))
    return found


def cell_labels(axes: Axes) -> list[tuple[int, str]]:
    return [(round(text.get_position()[1]), text.get_text()) for text in axes.texts]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def legend(axes: Axes) -> list[str]:
    drawn = axes.get_legend()
    assert drawn is not None
    return [text.get_text() for text in drawn.get_texts()]


@pytest.mark.parametrize(("name", "lowered"), [("gpipe", True), ("zero_bubble", False)])
def test_each_cell_is_a_bar_in_its_stages_row_and_its_ops_colour(
    simulated: Simulated, name: str, lowered: bool
) -> None:
    timeline = simulated(2, 1, 3, lowered=lowered, name=name)
    drawn = bars(axes_of(timeline_figure(timeline, "a step", DEVICES[:2])))

    computed = [event for event in timeline.events if event.action.op.is_compute]
    assert sorted(bar for bar in drawn if bar[1] != IDLE_COLOUR) == sorted(
        (event.action.stage, COLOURS[event.action.op], event.start_ms, event.end_ms)
        for event in computed
    )


def test_a_timeline_that_starts_late_is_drawn_from_zero() -> None:
    late = Timeline(1, (Event(Action(0, Op.F, Cell(0, 0)), 1000.0, 1004.0),))
    axes = axes_of(timeline_figure(late, "a step", DEVICES[:1]))

    assert (0, COLOURS[Op.F], 0.0, 4.0) in bars(axes)
    assert axes.get_xlim() == (0, 4)


def test_behind_each_stage_the_whole_step_is_idle_grey(simulated: Simulated) -> None:
    timeline = simulated(3, 1, 2)
    drawn = bars(axes_of(timeline_figure(timeline, "a step", DEVICES[:3])))

    assert [bar for bar in drawn if bar[1] == IDLE_COLOUR] == [
        (stage, IDLE_COLOUR, 0.0, timeline.step_ms) for stage in range(3)
    ]


def test_stage_0_is_at_the_top_and_rows_are_named(simulated: Simulated) -> None:
    axes = axes_of(timeline_figure(simulated(2, 1, 1), "a step", DEVICES[:2]))

    bottom, top = axes.get_ylim()
    assert bottom > top
    assert list(axes.get_yticks()) == [0, 1]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["stage 0 (cuda:0)", "stage 1 (cuda:1)"]
    assert axes.get_xlabel() == "time (ms)"


def test_the_heading_has_title_step_time_and_bubble(simulated: Simulated) -> None:
    # 2 stages and 3 chunks: (C + S-1) * 3 ms, of which (S-1) / (C + S-1) idle.
    drawn = words(timeline_figure(simulated(2, 1, 3), "step 7 of $x_{", DEVICES[:2]))

    assert drawn[:2] == ["step 7 of $x_{", "step 12.0 ms, bubble 25.0 %"]


def test_the_legend_names_the_ops_that_are_there(simulated: Simulated) -> None:
    timeline = simulated(1, 1, 1)
    with_weights = (*timeline.events, Event(Action(0, Op.W, Cell(0, 0)), 3.0, 4.0))
    without = axes_of(timeline_figure(timeline, "a step", DEVICES[:1]))
    with_ = axes_of(timeline_figure(Timeline(1, with_weights), "a step", DEVICES[:1]))

    assert legend(without) == ["forward (F)", "backward (B)", "idle (bubble)"]
    assert legend(with_) == [
        "forward (F)",
        "backward (B)",
        "weights' gradient (W)",
        "idle (bubble)",
    ]
    assert (0, COLOURS[Op.W], 3.0, 4.0) in bars(with_)


def test_wide_cells_are_labelled_with_micro_batch_and_chunk(simulated: Simulated) -> None:
    figure = timeline_figure(simulated(2, 2, 2), "a step", DEVICES[:2])

    cells = ["0.0", "0.1", "1.0", "1.1"]
    assert sorted(cell_labels(axes_of(figure))) == sorted(
        (stage, cell) for stage in range(2) for cell in cells * 2
    )
    assert "in the cells: micro-batch.chunk" in words(figure)


def test_where_only_b_has_room_only_b_is_labelled(simulated: Simulated) -> None:
    figure = timeline_figure(simulated(1, 1, 40), "a step", DEVICES[:1])

    assert sorted(cell_labels(axes_of(figure))) == sorted((0, f"0.{c}") for c in range(40))
    assert {text.get_color() for text in axes_of(figure).texts} == {"black"}


def test_a_wide_cell_is_labelled_beside_thin_ones_of_its_op() -> None:
    spans_ms = [(0.0, 0.01), (0.01, 0.02), (0.02, 3.0)]
    events = [Event(Action(0, Op.W, Cell(0, chunk)), *span) for chunk, span in enumerate(spans_ms)]
    figure = timeline_figure(Timeline(1, tuple(events)), "a step", DEVICES[:1])

    assert cell_labels(axes_of(figure)) == [(0, "0.2")]


def test_narrow_cells_have_no_labels_and_no_words_about_them(simulated: Simulated) -> None:
    figure = timeline_figure(simulated(8, 1, 64), "a step", DEVICES)

    assert cell_labels(axes_of(figure)) == []
    assert not any("cells" in text for text in words(figure))
    assert len(bars(axes_of(figure))) == 8 * (2 * 64 + 1)


def test_labels_lie_within_their_cells(simulated: Simulated) -> None:
    timeline = simulated(2, 4, 5)
    axes = axes_of(timeline_figure(timeline, "a step", DEVICES[:2]))

    assert len(axes.texts) == 80
    cells = [bar for bar in bars(axes) if bar[1] != IDLE_COLOUR]
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        x, y = text.get_position()
        assert any(
            stage == y and start < box.x0 < x < box.x1 < end for stage, _, start, end in cells
        ), text.get_text()


def test_the_time_axis_can_be_longer_than_the_step(simulated: Simulated) -> None:
    timeline = simulated(1, 1, 1)
    figure = timeline_figure(timeline, "a step", DEVICES[:1], until_ms=30.0)

    assert axes_of(figure).get_xlim() == (0, 30)
    assert (0, IDLE_COLOUR, 0.0, timeline.step_ms) in bars(axes_of(figure))


@pytest.mark.parametrize("n_stages", [1, 8])
def test_heading_and_rows_lie_inside_the_picture(simulated: Simulated, n_stages: int) -> None:
    figure = timeline_figure(simulated(n_stages, 1, 4), "a step", DEVICES[:n_stages])
    axes = axes_of(figure)
    drawn_legend = axes.get_legend()
    assert drawn_legend is not None

    figure.draw_without_rendering()
    whole = figure.bbox
    for part in [*figure.texts, drawn_legend, axes.xaxis.label, *axes.get_yticklabels()]:
        box = part.get_window_extent()
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1


def test_the_file_is_a_png_with_all_colours_in_it(tmp_path: Path, simulated: Simulated) -> None:
    path = tmp_path / "timeline.png"
    draw(simulated(2, 1, 8), DEVICES[:2], path)

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = np.rint(imread(path)[..., :3] * 255).astype(int).reshape(-1, 3)
    there = {"#" + bytes(pixel.tolist()).hex().upper() for pixel in np.unique(pixels, axis=0)}
    assert {COLOURS[Op.F], COLOURS[Op.B], IDLE_COLOUR, "#FFFFFF"} <= there


def test_thousands_of_thin_cells_still_show_their_colours(
    tmp_path: Path, simulated: Simulated
) -> None:
    path = tmp_path / "timeline.png"
    draw(simulated(1, 8, 256), DEVICES[:1], path)

    pixels = np.rint(imread(path)[..., :3] * 255).astype(int)
    middle = pixels[pixels.shape[0] // 2]
    for op, share in ((Op.F, 1 / 3), (Op.B, 2 / 3)):
        colour = [int(COLOURS[op][place : place + 2], 16) for place in (1, 3, 5)]
        width = (middle == colour).all(axis=1).sum() / len(middle)
        # The row takes up about seven eighths of the picture's width.
        assert width == pytest.approx(share * 7 / 8, abs=0.05)


def test_equal_timelines_give_equal_files_also_from_other_threads(
    tmp_path: Path, simulated: Simulated
) -> None:
    timeline = simulated(2, 1, 4)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    draw(timeline, DEVICES[:2], paths[0])
    workers = [
        threading.Thread(target=draw, args=(timeline, DEVICES[:2], path)) for path in paths[1:]
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len({path.read_bytes() for path in paths}) == 1


def test_a_timeline_without_events_is_an_empty_picture(tmp_path: Path) -> None:
    draw(Timeline(2, ()), DEVICES[:2], tmp_path / "timeline.png")

    assert (tmp_path / "timeline.png").stat().st_size > 0


def test_one_device_name_is_needed_for_each_stage(simulated: Simulated) -> None:
    with pytest.raises(ValueError, match="3 device names for 2 stages"):
        timeline_figure(simulated(2, 1, 1), "a step", DEVICES[:3])


def test_drawing_leaves_pyplot_and_torch_alone(tmp_path: Path) -> None:
    code = (
        "import sys; from gru_parallel.report.timeline_picture import save_figure; "
        "from gru_parallel.report.timeline_picture import timeline_figure; "
        "from gru_parallel.schedule import Timeline; "
        "save_figure(timeline_figure(Timeline(1, ()), 'a step', ['cpu:0']), sys.argv[1]); "
        "print({'matplotlib.pyplot', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "timeline.png")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "set()\n"
