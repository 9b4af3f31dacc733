"""Series as Lightning wants them: with what the Trainer has done in its checkpoints."""

from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn

from gru_parallel.data.loader import ResumableLoader
from gru_parallel.data.record import DataRecord
from gru_parallel.data.series_data import SeriesData


class SeriesDataModule(SeriesData, LightningDataModule):
    """The data of a forecasting run, for Lightning's Trainer; all but that is `SeriesData`'s."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data: columns, targets, rows and scale of each part."""
        return self.record.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that training goes on with the data that it began with.

        Raises:
            UsageError: the data differs.
        """
        if self.trainer is None or self.trainer.state.fn == TrainerFn.FITTING:
            DataRecord.from_state(state_dict).check_same(self.record)

    def train_dataloader(self) -> ResumableLoader:
        """Training windows, from the place on that the Trainer has come to in its epoch."""
        loader = super().train_dataloader()
        n_batches = len(loader)
        loader.n_batches_done = lambda: self._n_batches_done(n_batches)
        return loader

    def _n_batches_done(self, n_batches: int) -> int:
        """Batches of the present epoch that the Trainer has finished: all, where it was cut short.

        `processed` is the count by which Lightning, too, decides what to run again.
        """
        if self.trainer is None:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        n_done: int = progress.processed  # type: ignore[attr-defined]  # declared as a base class
        return n_batches if n_done >= self.trainer.num_training_batches else n_done
