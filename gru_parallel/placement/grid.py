"""Grid: into what pieces a model and its batches are cut, and in which order the pieces run."""

from dataclasses import dataclass

from gru_parallel.choices import RECOMPUTE
from gru_parallel.errors import UsageError, check_positive


@dataclass(frozen=True)
class Grid:
    """Into what pieces a model and its batches are cut, and in which order the pieces run.

    Attributes:
        layers_per_block: layers of each block; the last block may hold fewer.
        schedule: name of the schedule.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        truncate: chunks after which back-propagation through time is cut; None for nowhere.
        recompute: what B runs again of F, one of `RECOMPUTE`: "cell" keeps only a cell's input and
            the state that entered it.

    Raises:
        UsageError: a size is not a positive whole number, no schedule is named, or there is no such
            choice.
    """

    layers_per_block: int = 1
    schedule: str = "one_f_one_b"
    n_micro_batches: int = 1
    n_chunks: int = 8
    truncate: int | None = None
    recompute: str = "none"

    def __post_init__(self) -> None:
        check_positive("model.layers_per_block", self.layers_per_block)
        check_positive("schedule.n_micro_batches", self.n_micro_batches)
        check_positive("schedule.n_chunks", self.n_chunks)
        if self.truncate is not None:
            check_positive("schedule.truncate", self.truncate)
        if not self.schedule:
            raise UsageError("the grid names no schedule; name one, like schedule=gpipe.")
        if self.recompute not in RECOMPUTE:
            raise UsageError(
                f"schedule.recompute={self.recompute} is not a valid choice;"
                f" use one of {', '.join(RECOMPUTE)}."
            )

    @property
    def recomputes(self) -> bool:
        """Whether B of a cell runs its F again."""
        return self.recompute == "cell"

    def n_blocks(self, num_layers: int) -> int:
        """The number of blocks that hold so many layers, the last one possibly not full."""
        return -(-num_layers // self.layers_per_block)


def check_chunks(n_chunks: int, n_steps: int, of: str = "the sequence") -> None:
    """Raise a UsageError if there are more chunks than time steps `of` what is cut."""
    if n_chunks > n_steps:
        raise UsageError(
            f"schedule.n_chunks={n_chunks} exceeds the {n_steps} time steps of {of};"
            f" use schedule.n_chunks <= {n_steps}."
        )
