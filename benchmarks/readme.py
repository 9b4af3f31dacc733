"""Puts the tables of saved results into their section of benchmarks/README.md."""

from __future__ import annotations

from pathlib import Path

from gru_parallel.errors import UsageError

README = Path(__file__).parent / "README.md"


def markers(name: str) -> tuple[str, str]:
    """Return the lines that begin and end the tables of a benchmark."""
    command = f"python -m benchmarks {name} --write-readme NAME"
    return f"<!-- {name}: made by {command}; do not edit -->", f"<!-- end of {name} -->"


def between_markers(text: str, name: str, content: str) -> str:
    """Replace what stands between the markers of a benchmark.

    Args:
        text: of the README.
        name: of the benchmark.
        content: what shall stand there.

    Returns:
        The new text.

    Raises:
        UsageError: the two markers are not there, once each and in order.
    """
    begin, end = markers(name)
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UsageError(f"benchmarks/README.md lacks its two lines {begin!r} and {end!r}.")
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def write_section(name: str, content: str) -> None:
    """Put the tables of a benchmark into the README."""
    README.write_text(between_markers(README.read_text(), name, content))
