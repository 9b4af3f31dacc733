"""From series to the batches of a training run: file, split, scale, windows, Lightning."""

from typing import TYPE_CHECKING

from gru_parallel.lazy import lazily

if TYPE_CHECKING:
    from gru_parallel.data.datamodule import SeriesDataModule as SeriesDataModule
    from gru_parallel.data.files import load_tables as load_tables
    from gru_parallel.data.series_file import SeriesFile as SeriesFile
    from gru_parallel.data.share import Share as Share
    from gru_parallel.data.table import Table as Table
    from gru_parallel.data.table import tables_from_arrays as tables_from_arrays
    from gru_parallel.data.windows import Batch as Batch
    from gru_parallel.data.windows import WindowDataset as WindowDataset
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "datamodule": "SeriesDataModule",
            "files": "load_tables",
            "series_file": "SeriesFile",
            "share": "Share",
            "table": "Table tables_from_arrays",
            "windows": "Batch WindowDataset",
        },
    )
