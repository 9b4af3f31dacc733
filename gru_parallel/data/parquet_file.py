"""Reads a Parquet file into a sheet."""

from pathlib import Path

import pandas as pd
from pandas.api.types import is_integer_dtype

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.sheet import Sheet, check_names_differ, file_error, first_line


def read_parquet(path: Path, csv_format: CsvFormat) -> Sheet:
    """Read a Parquet file that exists.

    Args:
        path: the file.
        csv_format: how numbers are written in its columns of text.

    Returns:
        Its cells, with the index of the data frame it was written from as columns; possibly no row.

    Raises:
        UsageError: it is damaged, or two columns have one name.
    """
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise file_error(path, "needs pyarrow to be read; pip install pyarrow.") from error
    except ValueError as error:
        raise file_error(
            path, f"is not a Parquet file ({first_line(error)}); write it again."
        ) from error
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    check_names_differ(path, list(frame.columns))
    index = _columns_of_index(frame)
    return Sheet(
        path,
        pd.concat([index, frame.reset_index(drop=True)], axis=1),
        first_row=1,
        csv_format=csv_format,
        index_columns=tuple(map(str, index.columns)),
    )


def _columns_of_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The levels of the index that say something of a row, which mostly is its time.

    Whole numbers without a name count rows, of whatever frame they were rows of. A level may also
    stand among the columns, under the same name.
    """
    columns = {}
    for number, name in enumerate(frame.index.names):
        level = frame.index.get_level_values(number)
        if name is None and is_integer_dtype(level):
            continue
        wanted = f"index{number or ''}" if name is None else str(name).strip()
        if wanted not in frame.columns:
            columns[wanted] = level.to_series().reset_index(drop=True)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))
