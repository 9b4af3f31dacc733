"""Series as a LightningDataModule, whose position is saved in the Trainer's checkpoints."""

from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn

from gru_parallel.data.loader import ResumableLoader
from gru_parallel.data.record import DataRecord
from gru_parallel.data.series_data import SeriesData


class SeriesDataModule(SeriesData, LightningDataModule):
    """The data of a forecasting run for Lightning's Trainer; see `SeriesData`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the record of the data for a checkpoint, see `DataRecord`."""
        return self.record.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that training resumes with the same data.

        Raises:
            UsageError: the data differs.
        """
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            DataRecord.from_state(state_dict).check_same(self.record)

    def train_dataloader(self) -> ResumableLoader:
        """Training windows, from the Trainer's position in the epoch on."""
        loader = super().train_dataloader()
        n_batches = len(loader)
        loader.n_batches_done = lambda: self._n_batches_done(n_batches)
        return loader

    def _n_batches_done(self, n_batches: int) -> int:
        """Number of batches of this epoch that the Trainer has finished: all, if it was cut short.

        Lightning, too, decides by the count `processed` what to run again.
        """
        if self.trainer is None:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        n_done: int = progress.processed  # type: ignore[attr-defined]  # declared as a base class
        return n_batches if n_done >= self.trainer.num_training_batches else n_done
