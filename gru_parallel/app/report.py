"""The heavy half of `report`: reads the folders of runs, and writes a page of them."""

from __future__ import annotations

from gru_parallel.app.folders_line import FoldersLine
from gru_parallel.app.output import writing
from gru_parallel.report import RunResult
from gru_parallel.run_folder import RunFolder


def show(line: FoldersLine) -> int:
    """Write the page of some runs, say where it is, and return the exit status.

    Raises:
        UsageError: a folder does not hold the result of a run, or the page cannot be written.
    """
    results = {str(folder): RunResult.read(folder) for folder in line.folders}
    # Not at the top: with plotly it takes a second, which nobody should wait for an error.
    from gru_parallel.report.page import write_page

    path = line.output or RunFolder(line.folders[0]).report
    with writing(path, "--output FILE"):
        write_page(results, path)
    print(path)
    return 0
