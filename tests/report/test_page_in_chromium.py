"""The page in a real browser, where there is one: it draws every bar, and reports no error."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.report.page import write_page
from gru_parallel.schedule import Timeline
from tests.report.test_page import result_of

Simulated = Callable[..., Timeline]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(NAMES)}")


def opened(path: Path, profile: Path) -> tuple[str, list[str]]:
    """Open a file without a network; return the page as it then is, and what the console says."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            # It runs as root in containers, which have little shared memory and no GPU.
            *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def test_every_action_of_every_run_is_drawn_and_nothing_is_complained_of(
    simulated: Simulated, tmp_path: Path
) -> None:
    predicted, measured = simulated(2, 2, 4), simulated(2, 2, 4, lowered=True)
    result = result_of(predicted, measured)
    write_page({"one": result, "other": result}, tmp_path / "report.html")

    dom, said = opened(tmp_path / "report.html", tmp_path / "profile")

    assert said == []
    # Of both runs, predicted and measured: each F and B, and the step of each stage in grey.
    n_bars = 2 * 2 * (2 * 2 * 4 * 2 + 2)
    assert len(re.findall(r'<g class="point"><path', dom)) == n_bars
    assert "errors in the test" in dom
    # No click sends the results of a run anywhere.
    assert 'data-title="Download plot' in dom
    assert 'data-title="Share' not in dom


@pytest.mark.long
def test_a_run_of_thousands_of_actions_is_drawn_too(simulated: Simulated, tmp_path: Path) -> None:
    predicted = simulated(2, 8, 64)
    write_page({"run": result_of(predicted, predicted)}, tmp_path / "report.html")

    dom, said = opened(tmp_path / "report.html", tmp_path / "profile")

    assert said == []
    assert len(re.findall(r'<g class="point"><path', dom)) == 2 * (2 * 2 * 8 * 64 + 2)
