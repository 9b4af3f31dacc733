"""`python -m tests.faults`: harms runs again and again, and says what became of each."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

from tests.faults.damage import DAMAGES, try_damage
from tests.faults.kinds import KINDS, PATIENCE
from tests.faults.outcome import Outcome
from tests.faults.report import Report, write_page
from tests.faults.scene import enter_namespaces
from tests.faults.starts import fork_ranks
from tests.faults.trial import try_fault, undisturbed

Trial = Callable[[], Outcome]


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status: 1 where a trial shows a fault."""
    options = _parser().parse_args(arguments)
    if options.write_page:
        write_page(Report.read())
        return 0
    if options.seed is None:
        options.seed = SystemRandom().randrange(10**6)
    arguments = [*arguments, "--seed", str(options.seed)]
    obstacle = enter_namespaces(["tests.faults", *arguments])
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["GRU_PARALLEL_CACHE"] = str(folder / "cache")
    print(f"seed {options.seed}; repeat a trial with --seed {options.seed} --only 'KIND' NUMBER")
    if obstacle:
        print(f"Without cut links, full disks and read-only ones: {obstacle}")
    outcomes = []
    try:
        trials = list(_trials(options, folder, can_isolate=not obstacle))
        # Long ones among short ones; and one that is interrupted has had some of each kind.
        Random(options.seed).shuffle(trials)
        for outcome in _outcomes(trials, options.jobs):
            outcomes.append(outcome)
            print(f"{len(outcomes)} of {len(trials)}: {outcome}", flush=True)
    except KeyboardInterrupt:
        print("Interrupted: what follows is of the trials so far.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    names = [kind.name for kind in (*KINDS, *DAMAGES)]
    outcomes.sort(key=lambda outcome: (names.index(outcome.kind), outcome.number))
    report = Report.of(outcomes, options.seed, options.jobs, obstacle)
    report.show()
    if options.save:
        report.save()
    return int(any(outcome.verdict for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="of all that is random; printed if not given")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once (2)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of each kind's trials, at least one of each (1)"
    )
    parser.add_argument(
        "--only", nargs=2, metavar=("KIND", "NUMBER"), help="one trial, or all: of a kind"
    )
    parser.add_argument("--save", action="store_true", help="keep the results, for --write-page")
    parser.add_argument(
        "--write-page",
        action="store_true",
        help="try nothing; put the table of the kept results into docs/reliability.md",
    )
    return parser


def _trials(options: argparse.Namespace, folder: Path, *, can_isolate: bool) -> Iterator[Trial]:
    """Make all trials, kind by kind."""
    expected = undisturbed(folder / "alone")
    # Its checkpoints are folders.
    of_ranks = undisturbed(folder / "ranks", fork_ranks, *PATIENCE, "checkpoint.async=true")
    assert expected.difference(of_ranks) == ""
    runs = [folder / name / "disk" / "run" for name in ("alone", "ranks")]
    for kind in KINDS:
        if kind.is_private and not can_isolate:
            continue
        for number in _numbers(options, kind.name, kind.n_trials):
            place = folder / f"{kind.name}{number}".replace(" ", "_").replace(",", "")
            yield partial(
                _in_folder, place, partial(try_fault, kind, options.seed, number, expected)
            )
    for damage in DAMAGES:
        for number in _numbers(options, damage.name, damage.n_trials):
            place = folder / f"{damage.name}{number}".replace(" ", "_")
            yield partial(
                _in_folder, place, partial(try_damage, damage, options.seed, number, runs)
            )


def _numbers(options: argparse.Namespace, name: str, n_trials: int) -> list[int]:
    if options.only is None:
        return list(range(max(1, round(n_trials * options.share))))
    kind, number = options.only
    if kind != name:
        return []
    return list(range(n_trials)) if number == "all" else [int(number)]


def _in_folder(folder: Path, trial: Callable[[Path], Outcome]) -> Outcome:
    folder.mkdir()
    outcome = trial(folder)
    # What a failed one leaves may tell why.
    if not outcome.verdict:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _outcomes(trials: Sequence[Trial], jobs: int) -> Iterator[Outcome]:
    """Yield outcomes as trials end; one that is interrupted begins no more of them."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(trial) for trial in trials]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
