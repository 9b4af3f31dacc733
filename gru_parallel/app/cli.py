"""What the entry points share: command line to checked config, errors to exit statuses."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.app.command_line import (
    CommandLine,
    read_command_line,
    refuse_flags,
    with_home,
)
from gru_parallel.app.run_folder import check_free, named_folder
from gru_parallel.app.together import (
    check_launch,
    check_no_sweep,
    check_same_run,
    common_arguments,
    first_problem,
)
from gru_parallel.config.column_names import as_text
from gru_parallel.config.mappings import replacing
from gru_parallel.config.overrides import (
    CONFIG_NAME,
    check_sweep,
    compose_config,
    run_folder,
    settings_called,
)
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config, ProcessesConfig, conf_dir
from gru_parallel.errors import DataWarning, UsageError
from gru_parallel.ranks import Launch, RankError, Ranks, join

USAGE_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143


class PreparedRun(Protocol):
    """A run that has passed every check that one process can make."""

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can see.

        Raises:
            UsageError: on all of them.
        """
        ...


Prepared = TypeVar("Prepared", bound=PreparedRun)
Shown = TypeVar("Shown")
Prepare = Callable[[Config, Ranks | None], Prepared]
Run = Callable[[Prepared, DictConfig, Path], int]


def fail(message: object, status: int) -> int:
    """Print a message as an error and return the exit status."""
    print(f"gru_parallel: {message}", file=sys.stderr)
    return status


@contextmanager
def own_warnings() -> Iterator[None]:
    """Print what is to be known of the data as errors are printed, in one line."""
    show = warnings.showwarning

    def show_warning(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            fail(message, 0)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = show_warning
    try:
        yield
    finally:
        warnings.showwarning = show


def run_under_hydra(prepare: Prepare[Prepared], run: Run[Prepared]) -> int:
    """Run a program whose settings are the command line's overrides.

    A plain run is prepared before Hydra makes its folder, so bad input leaves nothing behind.

    Args:
        prepare: checks and builds all that can be, and raises UsageError for what cannot work; is
            given the ranks of the run, if this process is one of many.
        run: does the work, in the folder that it is given; returns the exit status.

    Returns:
        The exit status: 2 for a usage error.
    """
    try:
        with own_warnings():
            return _prepare_and_run(with_home(sys.argv[1:]), prepare, run)
    except KeyboardInterrupt:
        return fail("Stopped by Ctrl-C.", INTERRUPTED)


def _prepare_and_run(arguments: list[str], prepare: Prepare[Prepared], run: Run[Prepared]) -> int:
    prepared: Prepared | None = None
    launch = None
    try:
        launch = Launch.from_environment()
        line = read_command_line(arguments)
        if not line.runs:
            _check_shown(line)
        elif line.is_sweep:
            check_no_sweep(launch)
            check_sweep(line.overrides)
            named_folder(line.overrides, sweep=True)
        else:
            config = read_config(compose_config(line.overrides))
            check_launch(config, launch)
            if launch is not None and launch.local_rank > 0:
                # The first rank of each machine says it for all.
                warnings.simplefilter("ignore", DataWarning)
            folder = named_folder(line.overrides)
            if launch is not None and isinstance(config.engine, ProcessesConfig):
                return _run_as_rank(list(line.overrides), launch, config.engine, prepare, run)
            if folder is not None:
                check_free(folder, config.ckpt_path)
            prepared = prepare(config, None)
    except UsageError as error:
        # All ranks of a machine have the same command line, and one says what is wrong with it.
        is_quiet = launch is not None and launch.local_rank > 0
        return USAGE_ERROR if is_quiet else fail(error, USAGE_ERROR)
    return _run_hydra(line.arguments, prepared, prepare, run)


def _check_shown(line: CommandLine) -> None:
    """Check the settings of which Hydra shows something."""
    if "--shell-completion" not in line.flags:
        compose_config(line.overrides)


def _run_as_rank(
    arguments: list[str],
    launch: Launch,
    engine: ProcessesConfig,
    prepare: Prepare[Prepared],
    run: Run[Prepared],
) -> int:
    """Run together with the other ranks, and end with them."""
    try:
        ranks = join(launch, timeout_s=engine.timeout_s)
    except UsageError as error:
        # It is about this process alone.
        return fail(error, USAGE_ERROR)
    except RankError as error:
        return fail(f"rank {launch.rank}: {error}", 1)
    try:
        with ranks:
            try:
                return _run_together(arguments, ranks, prepare, run)
            except (RuntimeError, OSError) as error:
                raise ranks.explain(error) from error
    except RankError as error:
        return fail(f"rank {launch.rank}: {error}", 1)


def _run_together(
    arguments: list[str], ranks: Ranks, prepare: Prepare[Prepared], run: Run[Prepared]
) -> int:
    common = common_arguments(arguments, ranks)
    prepared: Prepared | None = None
    own_problem: str | None = None
    try:
        composed = compose_config(common)
        check_same_run(composed, ranks)
        config = read_config(composed)
        check_free(_as_given(run_folder(common)), config.ckpt_path)
        prepared = prepare(config, ranks)
    except UsageError as error:
        own_problem = str(error)
    problem, is_speaker = first_problem(own_problem, ranks)
    if problem is None and prepared is not None:
        try:
            prepared.check_together(ranks)
        except UsageError as error:
            problem, is_speaker = str(error), ranks.is_first
    if problem is not None:
        return fail(problem, USAGE_ERROR) if is_speaker else USAGE_ERROR
    return _run_hydra(common, prepared, prepare, run)


def _run_hydra(
    arguments: list[str],
    prepared: Prepared | None,
    prepare: Prepare[Prepared],
    run: Run[Prepared],
) -> int:
    """Run under Hydra, which makes the folder; a sweep is prepared run by run."""
    is_sweep = "--multirun" in arguments
    status = 0
    is_in_task = False
    broken: RankError | None = None

    def task(composed: DictConfig) -> None:
        nonlocal status, is_in_task, broken
        is_in_task = True
        try:
            folder = Path(HydraConfig.get().runtime.output_dir)
            # Paths are relative to where the command was given, though Hydra may have left it.
            with chdir(HydraConfig.get().runtime.cwd):
                config = read_config(composed)
                check_free(_as_given(folder), config.ckpt_path, sweep=is_sweep)
                ready = prepare(config, None) if prepared is None else prepared
            ended = run(ready, composed, folder)
        except UsageError as error:
            ended = fail(error, USAGE_ERROR)
        except RankError as error:
            # Raised again outside of the task: Hydra would first print the overrides.
            broken, ended = error, 1
        status = max(status, ended)
        is_in_task = False

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    sys.argv[1:] = replacing(as_text(arguments))
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # First: that a config is missing, is an OSError to Hydra, too.
        if is_in_task:
            raise
        return fail(_fault_of_hydra(error, arguments), USAGE_ERROR)
    except OSError as error:
        if is_in_task:
            raise
        # Outside of the task, Hydra makes the folder of the run and writes into it.
        setting = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
        return fail(
            f"{setting} gives no folder that can be written to ({error.strerror}:"
            f" {error.filename}); choose another.",
            USAGE_ERROR,
        )
    if broken is not None:
        raise broken
    return status


def _as_given(folder: Path) -> Path:
    """Name a folder from the current one, if it is in it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _fault_of_hydra(error: Exception, arguments: list[str]) -> str:
    """Say what is wrong with the settings of Hydra itself, which it reads when it begins."""
    key = str(getattr(error, "full_key", None) or "hydra")
    given = next((text for text in arguments if text.startswith(f"{key}=")), key)
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{given} cannot work: {reason}; choose another value."


def run_in_place(
    help_text: str,
    prepare: Callable[[Sequence[str]], Shown],
    show: Callable[[Shown], int],
    find: Callable[[str], list[str]] = settings_called,
) -> int:
    """Run a program that only prints: no folder is made, and nothing is written.

    Args:
        help_text: what --help prints.
        prepare: reads the overrides, checks and builds what is to be shown, and raises UsageError
            for what cannot work.
        show: prints it; returns the exit status.
        find: from a name to the full names of the settings that could be meant.

    Returns:
        The exit status: 2 for a usage error.
    """
    arguments = with_home(sys.argv[1:])
    if {"-h", "--help"} & set(arguments):
        print(help_text)
        return 0
    try:
        refuse_flags(arguments, find)
        with own_warnings():
            return show(prepare(arguments))
    except UsageError as error:
        return fail(error, USAGE_ERROR)


def write_resolved(composed: DictConfig, path: Path) -> None:
    """Write the config with every reference replaced by its value."""
    path.write_text(OmegaConf.to_yaml(composed, resolve=True), encoding="utf-8")
