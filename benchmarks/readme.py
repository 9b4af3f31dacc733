"""Puts the tables of saved results between two markers of benchmarks/README.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import markdown
from benchmarks.results import Results
from gru_parallel.errors import UsageError

README = Path(__file__).parent / "README.md"
BEGIN = "<!-- numbers: made by python -m benchmarks --write-readme NAME; do not edit -->"
END = "<!-- end of numbers -->"


def between_markers(text: str, content: str) -> str:
    """Replace what stands between the markers.

    Args:
        text: of the README.
        content: what shall stand there.

    Returns:
        The new text.

    Raises:
        UsageError: the two markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"benchmarks/README.md lacks its two lines {BEGIN!r} and {END!r}.")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def write_readme(results: Results) -> None:
    """Put the tables of `results` into the README."""
    README.write_text(between_markers(README.read_text(), markdown(results)))
