"""Runs a command that uses a finished run, in one process or together with other ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from gru_parallel.app.command_line import refuse_flags, with_home
from gru_parallel.app.hydra_run import PreparedRun
from gru_parallel.app.launcher import check_launch
from gru_parallel.app.outcome import USAGE_ERROR, data_warnings, fail
from gru_parallel.app.use_line import Settings, engine_of, read_use_line
from gru_parallel.choices import meant
from gru_parallel.config.overrides import setting_called
from gru_parallel.config.schema import ProcessesConfig
from gru_parallel.errors import DataWarning, UsageError
from gru_parallel.ranks.launch import Launch

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks

Prepared = TypeVar("Prepared", bound=PreparedRun)

Prepare = Callable[[Settings, Sequence[str], "Ranks | None"], Prepared]
"""Checks and builds all that a command needs, from its settings and the run's overrides."""

Run = Callable[[Prepared], int]
"""Does the work, and returns the exit status."""


Load = Callable[[], tuple[Prepare[Settings, Prepared], Run[Prepared]]]
"""Imports what prepares and runs: it takes seconds, so not before the settings are checked."""


def use_run(
    name: str,
    arguments: Sequence[str],
    help_text: str,
    schema: type[Settings],
    load: Load[Settings, Prepared],
) -> int:
    """Run a command that uses a finished run.

    Args:
        name: of the command.
        arguments: the command line without the program.
        help_text: what --help prints.
        schema: the settings of the command.
        load: imports the program.

    Returns:
        The exit status: 2 for a usage error.
    """
    given = with_home(arguments)
    if {"-h", "--help"} & set(given):
        print(help_text)
        return 0
    launch = None
    try:
        with data_warnings():
            own = [field.name for field in fields(schema)]
            refuse_flags(given, lambda flag: meant(flag, own) or setting_called(flag))
            settings, overrides = read_use_line(given, schema)
            launch = Launch.from_environment()
            if launch is not None and launch.local_rank > 0:
                # The first rank of each machine prints it for all.
                warnings.simplefilter("ignore", DataWarning)
            engine = engine_of(overrides)
            check_launch(engine, launch, name)
            prepare, run = load()
            if launch is None or not isinstance(engine, ProcessesConfig):
                return run(prepare(settings, overrides, None))
            # It imports torch, as the program does.
            from gru_parallel.app.together import check_same_command, prepare_together, run_as_rank

            def run_together(ranks: Ranks) -> int:
                def prepare_here() -> Prepared:
                    check_same_command(given, ranks)
                    return prepare(settings, overrides, ranks)

                prepared = prepare_together(prepare_here, ranks)
                return USAGE_ERROR if prepared is None else run(prepared)

            return run_as_rank(launch, engine, run_together)
    except UsageError as error:
        # All ranks of a machine have the same command line, and one reports what is wrong with it.
        is_quiet = launch is not None and launch.local_rank > 0
        return USAGE_ERROR if is_quiet else fail(error, USAGE_ERROR)
    except SystemExit as error:
        # At a Ctrl-C, Lightning exits.
        raise KeyboardInterrupt from error
