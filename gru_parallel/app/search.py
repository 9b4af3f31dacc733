"""The heavy half of `search`: chooses settings by what the runs before came to, and runs them."""

from __future__ import annotations

import math
import shlex
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from gru_parallel.app import prepare_run, train
from gru_parallel.app.compare import COMPARISON, Unfinished, read_run, show_runs
from gru_parallel.app.hydra_run import run_hydra
from gru_parallel.app.outcome import LAST_OF_A_PROGRAM, is_of_the_disk
from gru_parallel.app.run_lock import FolderInUseError, RunLock
from gru_parallel.app.search_settings import SearchLine, Space
from gru_parallel.app.sweep import heading
from gru_parallel.choices import LAST
from gru_parallel.config.overrides import parse_override, quoted
from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.report.comparison import ComparedRun
from gru_parallel.report.summary import Summary, read_summary
from gru_parallel.run_folder import RunFolder
from gru_parallel.training.epoch_record import EpochResult

JOURNAL = "search.log"
_GIVEN, _FOLDER, _CONTINUES, _ERROR = "given", "folder", "continues", "error"
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_N_SPARED = 5
"""Runs that come to a result before any is ended early."""

_MOST_REPEATED = 100
"""Suggestions one after the other that were tried before, until a search has tried all."""


class PrunedRunError(EndOfRunError):
    """The run is worse than those before it, and ends for that."""

    status = 0
    ended = "pruned"


def search(line: SearchLine, seed: int) -> int:
    """Run trials until there are enough, and compare them.

    Args:
        line: the command line.
        seed: of the choices.

    Returns:
        The exit status.

    Raises:
        UsageError: the folder holds another search, or a run.
        FolderInUseError: another search is at work in it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(line.settings.folder or datetime.now().strftime("search/%Y-%m-%d/%H-%M-%S"))
    with RunLock() as lock:
        holder = lock.take(folder, makes=True)
        if holder is not None:
            raise FolderInUseError(
                f"folder={folder} is in use by another search, {holder}; end that one, or choose"
                " another folder."
            )
        searching = _Searching(line, seed, folder, _open(folder, line))
        try:
            status = searching.run()
        except BaseException:
            # On a full disk the table cannot be written either, and the first error counts.
            with suppress(UsageError):
                searching.show()
            raise
        searching.show()
        return status


def _open(folder: Path, line: SearchLine) -> optuna.Study:
    """Begin a search in a folder, or continue the one that is there."""
    journal = folder / JOURNAL
    if not journal.exists() and RunFolder(folder).is_taken:
        raise UsageError(f"folder={folder} holds a run; give a search a folder of its own.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        study = optuna.create_study(storage=storage, study_name="search", load_if_exists=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"folder={folder} is not a folder that a search can write to ({error}); give another."
        ) from error
    before = study.user_attrs.get(_GIVEN)
    if before is None:
        study.set_user_attr(_GIVEN, list(line.given))
    elif before != list(line.given):
        raise UsageError(
            f"folder={folder} holds the search over {' '.join(before)}; give the same settings, or"
            " another folder."
        )
    return study


class _Searching:
    """A search that goes on.

    Args:
        line: the command line.
        seed: of the choices.
        folder: of the search.
        study: what optuna knows of it.
    """

    def __init__(
        self,
        line: SearchLine,
        seed: int,
        folder: Path,
        study: optuna.Study,
    ) -> None:
        self._line = line
        self._seed = seed
        self._folder = folder
        self._study = study
        self._spaces = {space.key: _distribution(space) for space in line.spaces}

    def run(self) -> int:
        """Run trials until there are enough; return the exit status."""
        self._take_up()
        n_repeated = 0
        while self._n_ended() < self._line.settings.n_trials:
            # From the number of suggestions, so that a search that was stopped goes on as it would.
            n_suggested = sum(_CONTINUES not in each.user_attrs for each in self._study.trials)
            self._study.sampler = TPESampler(seed=self._seed + n_suggested)
            trial = self._study.ask(self._spaces)
            if self._repeats(trial):
                n_repeated += 1
                if n_repeated == _MOST_REPEATED:
                    print("Ends here: nothing is suggested that was not tried.")
                    break
                continue
            n_repeated = 0
            self._study.pruner = self._pruner()
            status = self._try(trial)
            if status > LAST_OF_A_PROGRAM:
                print(f"Go on with the same command and folder={self._folder}")
                return status
        return 0 if self._study.get_trials(states=(TrialState.COMPLETE,)) else 1

    def show(self) -> None:
        """Print the table of all trials and what to do next, and write the CSV file."""
        found = self._found()
        if not found:
            return
        show_runs(found, self._folder / COMPARISON)
        if self._study.get_trials(states=(TrialState.COMPLETE,)):
            # A sweep would take the last of two seeds alone.
            fixed = [
                text for text in self._line.fixed if parse_override(text).key_or_group != "seed"
            ]
            values = [*fixed, *_overrides(self._study.best_params)]
            print(f"Over several seeds: gru-parallel train -m seed=0,1,2 {shlex.join(values)}")

    def _found(self) -> list[ComparedRun | Unfinished]:
        """Read what all trials came to, in their order."""
        failed = [trial for trial in self._study.trials if _ERROR in trial.user_attrs]
        errors = {_name(trial): trial.user_attrs[_ERROR] for trial in failed}
        found: list[ComparedRun | Unfinished] = []
        for name in self._names():
            # What raised it has left no summary that could tell.
            error, folder = errors.get(name), self._folder / name
            found.append(Unfinished(str(folder), error) if error else read_run(folder))
        return found

    def _take_up(self) -> None:
        """Have trials that were stopped run on in their folders, before new ones begin."""
        waiting = self._study.get_trials(states=(TrialState.WAITING,))
        continued = {trial.user_attrs.get(_CONTINUES) for trial in waiting}
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            # In this order, and once: it may be stopped here, too.
            if trial.number not in continued:
                attributes = {_FOLDER: _name(trial), _CONTINUES: trial.number}
                self._study.enqueue_trial(trial.params, user_attrs=attributes)
            self._study.tell(trial.number, state=TrialState.FAIL)

    def _n_ended(self) -> int:
        """Return how many trials have ended; one that was stopped and runs on has not."""
        open_ones = self._study.get_trials(states=(TrialState.WAITING, TrialState.RUNNING))
        return len(self._names().keys() - {_name(trial) for trial in open_ones})

    def _pruner(self) -> BasePruner:
        """Return what decides whether a run ends early."""
        if not self._line.settings.prune:
            return NopPruner()
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        # Those that repeat another were no runs.
        n_repeats = len(complete) - len({_name(trial) for trial in complete})
        return MedianPruner(n_startup_trials=_N_SPARED + n_repeats)

    def _repeats(self, trial: Trial) -> bool:
        """Whether a trial has the settings of an earlier one; then it gets its result, too."""
        ended = self._study.get_trials(deepcopy=False, states=_ENDED)
        same = next((each for each in reversed(ended) if each.params == trial.params), None)
        if same is None or _FOLDER in trial.user_attrs:
            return False
        trial.set_user_attr(_FOLDER, _name(same))
        is_complete = same.state == TrialState.COMPLETE
        self._study.tell(trial, same.value if is_complete else None, state=same.state)
        return True

    def _names(self) -> dict[str, None]:
        """Return the folders of all trials, in their order."""
        return dict.fromkeys(_name(trial) for trial in self._study.trials)

    def _try(self, trial: Trial) -> int:
        """Run a trial, record what it came to, and return its exit status."""
        name = _name(trial)
        trial.set_user_attr(_FOLDER, name)
        if _CONTINUES in trial.user_attrs:
            # Its epochs before the stop count, too.
            before = self._study.trials[trial.user_attrs[_CONTINUES]]
            for epoch, loss in before.intermediate_values.items():
                trial.report(loss, epoch)
        chosen = _overrides(trial.params)
        print(
            heading(self._n_ended(), self._line.settings.n_trials, ", ".join(chosen), "Trial"),
            flush=True,
        )
        folder = RunFolder(self._folder / name)
        own = [f"hydra.run.dir={quoted(str(folder.path))}", f"ckpt_path={LAST}"]
        own_run = partial(train.run, on_epoch=partial(_report, trial))
        arguments = [*self._line.fixed, *chosen, *own]
        try:
            status = run_hydra(arguments, None, lambda: (prepare_run.prepare, own_run), None)
        except Exception as error:
            if isinstance(error, OSError) and is_of_the_disk(error):
                raise
            # As in a sweep: other settings may fit the memory, for example.
            traceback.print_exc()
            trial.set_user_attr(_ERROR, _in_a_line(error))
            status = 1
        if status <= LAST_OF_A_PROGRAM:
            self._tell(trial, None if status else read_summary(folder.summary))
        return status

    def _tell(self, trial: Trial, summary: Summary | None) -> None:
        loss = math.nan if summary is None else summary.validation_loss
        if summary is not None and summary.ended == PrunedRunError.ended:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif loss is None or not math.isfinite(loss):
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, loss)


def _report(trial: Trial, result: EpochResult) -> None:
    """Tell optuna the validation of an epoch.

    Raises:
        PrunedRunError: the trial is not worth its time.
    """
    loss = result.validation.get("val/loss")
    if loss is None or not result.is_end:
        return
    with warnings.catch_warnings():
        # A run that was stopped may repeat an epoch, which came to the same.
        warnings.simplefilter("ignore")
        trial.report(loss, result.epoch)
    if trial.should_prune():
        raise PrunedRunError(
            f"After epoch {result.epoch}, the lowest val/loss of this run is above the"
            " median of those before it."
        )


def _name(trial: Any) -> str:
    """Return the name of a trial's folder: its number, or that of the one that it continues."""
    return str(trial.user_attrs.get(_FOLDER, trial.number))


def _in_a_line(error: Exception) -> str:
    return f"failed: {type(error).__name__}: {' '.join(str(error).split())}".rstrip(": .")


def _overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _distribution(space: Space) -> BaseDistribution:
    if space.choices:
        return CategoricalDistribution(space.choices)
    if space.is_whole:
        low, high, step = int(space.low), int(space.high), int(space.step or 1)
        return IntDistribution(low, high, log=space.is_log, step=step)
    return FloatDistribution(space.low, space.high, log=space.is_log, step=space.step)
