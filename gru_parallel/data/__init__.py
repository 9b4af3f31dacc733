"""From series to the batches of a training run: file, split, scale, windows, Lightning."""

from gru_parallel.data.baselines import Score, repeat_last, seasonal_naive
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.files import load_tables
from gru_parallel.data.loader import ResumableLoader, ShuffledWindows
from gru_parallel.data.lorenz96 import lorenz96_table
from gru_parallel.data.share import Share
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.streams import StreamBatches
from gru_parallel.data.table import Table, tables_from_arrays
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import Batch, WindowDataset

__all__ = [
    "Batch",
    "CsvFormat",
    "ResumableLoader",
    "Score",
    "SeriesDataModule",
    "Share",
    "ShuffledWindows",
    "Standardizer",
    "StreamBatches",
    "Table",
    "WindowDataset",
    "WindowShape",
    "load_tables",
    "lorenz96_table",
    "repeat_last",
    "seasonal_naive",
    "tables_from_arrays",
]
