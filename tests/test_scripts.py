"""What the scripts for clusters start, with stand-ins for torchrun and SLURM."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

STAND_INS = {
    "torchrun": """
printf '%s\\n' "$@" "OMP_NUM_THREADS=$OMP_NUM_THREADS"
""",
    # Runs what stands behind its own options as three tasks, the third on a second machine. A
    # SIGTERM, after which tasks end with 143, has reached the script, too.
    "srun": """
while [[ $1 == --* ]]; do echo "srun $1"; shift; done
SLURM_PROCID=0 SLURM_LOCALID=0 "$@"
SLURM_PROCID=1 SLURM_LOCALID=1 "$@"
SLURM_PROCID=2 SLURM_LOCALID=0 "$@"
if [[ $STATUS == 143 ]]; then kill -TERM "$PPID"; sleep 0.2; fi
exit "$STATUS"
""",
    "scontrol": """
if [[ $1 == show ]]; then printf '%s\\n' node07 node08; else echo "scontrol $*"; fi
""",
    "python": """
echo "rank $RANK/$WORLD_SIZE local $LOCAL_RANK/$LOCAL_WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT: $*"
""",
}

JOB = {
    "SLURM_JOB_ID": "123456",
    "SLURM_JOB_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "3",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_CPUS_PER_TASK": "6",
    "STATUS": "0",
}

LAST = Path("outputs/slurm-123456/checkpoints/last.ckpt")

Start = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def start(in_tmp_path: Path) -> Start:
    """Runs a script in an empty folder, with stand-ins for all that it starts."""
    folder = in_tmp_path / "bin"
    folder.mkdir()
    for name, program in STAND_INS.items():
        path = folder / name
        path.write_text(f"#!/usr/bin/env bash\n{program}")
        path.chmod(0o755)
    ours = ("NNODES", "NPROC_PER_NODE", "MAX_RESTARTS", "TORCHRUN", "PYTHON", "OMP_NUM_THREADS")
    rest = {name: value for name, value in os.environ.items() if name not in ours}

    def run(script: str, *overrides: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [SCRIPTS / script, *overrides],
            env=rest | {"PATH": f"{folder}:{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_torchrun_starts_a_process_a_gpu_on_one_machine(start: Start) -> None:
    ended = start("torchrun.sh", "model.num_layers=8", "data.target=[a b,c]")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        *("--nnodes", "1", "--nproc-per-node", "auto", "--max-restarts", "0", "--standalone"),
        *("-m", "gru_parallel.train", "engine=processes"),
        *("model.num_layers=8", "data.target=[a b,c]"),
        "OMP_NUM_THREADS=1",
    ]


def test_torchrun_starts_several_machines_that_meet_at_one(start: Start) -> None:
    ended = start(
        "torchrun.sh",
        "engine.data_parallel=2",
        NNODES="2",
        NPROC_PER_NODE="8",
        RDZV_ENDPOINT="node07:29400",
        RDZV_ID="deep",
        MAX_RESTARTS="3",
        OMP_NUM_THREADS="4",
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        *("--nnodes", "2", "--nproc-per-node", "8", "--max-restarts", "3"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "node07:29400", "--rdzv-id", "deep"),
        *("-m", "gru_parallel.train", "engine=processes", "engine.data_parallel=2"),
        "OMP_NUM_THREADS=4",
    ]


def test_torchrun_asks_several_machines_where_they_meet(start: Start) -> None:
    ended = start("torchrun.sh", NNODES="2")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "set RDZV_ENDPOINT=HOST:PORT" in ended.stderr


def test_slurm_starts_a_rank_a_task_that_sees_all_gpus_of_its_machine(start: Start) -> None:
    ended = start("slurm.sh", "experiment=deep", "data.target=[a b,c]", **JOB)

    assert ended.returncode == 0, ended.stderr
    settings = (
        "-m gru_parallel.train engine=processes experiment=deep data.target=[a b,c]"
        " hydra.run.dir=outputs/slurm-123456"
    )
    assert ended.stdout.splitlines() == [
        "srun --distribution=block",
        "srun --cpus-per-task=6",
        "srun --gpu-bind=none",
        "srun --kill-on-bad-exit=0",
        "srun --wait=60",
        f"rank 0/3 local 0/2 at node07:23456: {settings}",
        f"rank 1/3 local 1/2 at node07:23456: {settings}",
        f"rank 2/3 local 0/2 at node07:23456: {settings}",
    ]
    # With this option, a task would see one GPU only.
    options = [
        x for x in (SCRIPTS / "slurm.sh").read_text().splitlines() if x.startswith("#SBATCH")
    ]
    assert not any("gpus-per-task" in option for option in options)
    assert "#SBATCH --signal=USR1@120" in options
    assert "#SBATCH --requeue" in options


def test_a_requeued_job_goes_on_from_its_last_checkpoint(start: Start) -> None:
    own = "ckpt_path=before.ckpt"
    LAST.parent.mkdir(parents=True)
    first = start("slurm.sh", own, **JOB)
    without = start("slurm.sh", own, **JOB, SLURM_RESTART_COUNT="1")
    LAST.touch()
    requeued = start("slurm.sh", own, **JOB, SLURM_RESTART_COUNT="1")

    # Of two values for one setting, the last counts.
    for ended, n_given in ((first, 1), (without, 1), (requeued, 2)):
        line = ended.stdout.splitlines()[-1]
        assert line.count("ckpt_path=") == n_given
        goes_on = line.endswith(f"hydra.run.dir={LAST.parents[1]} init_from=null ckpt_path=last")
        assert goes_on == (n_given == 2)


def test_a_job_whose_time_is_nearly_up_queues_again(start: Start) -> None:
    ended = start("slurm.sh", **JOB | {"STATUS": "138"})

    assert ended.returncode == 138
    assert ended.stdout.splitlines()[-1] == "scontrol requeue 123456"


@pytest.mark.parametrize("status", ["0", "1", "2", "130", "143"])
def test_a_job_that_ends_otherwise_does_not_and_has_the_status_of_the_run(
    status: str, start: Start
) -> None:
    ended = start("slurm.sh", **JOB | {"STATUS": status})

    assert ended.returncode == int(status)
    assert "requeue" not in ended.stdout


COMMAND = """
echo "$*" >> starts
case $1 in
    dies) [[ $(wc -l < starts) -lt 3 ]] || exit 0; kill -9 $$ ;;
    waits) trap 'kill $!; exit 143' TERM; trap 'kill $!; exit 138' USR1; sleep 60 & wait ;;
    *) exit "$1" ;;
esac
"""


@pytest.mark.parametrize(
    ("argument", "status", "n_starts"),
    [("dies", 0, 3), ("0", 0, 1), ("2", 2, 1), ("130", 130, 1), ("138", 138, 1), ("1", 1, 4)],
    ids=["it dies twice", "done", "refused", "stopped", "by SIGUSR1", "it fails again and again"],
)
def test_what_has_died_is_started_again_and_what_has_ended_is_not(
    argument: str, status: int, n_starts: int, start: Start, in_tmp_path: Path
) -> None:
    (in_tmp_path / "command").write_text(COMMAND)

    ended = start("restart.sh", "bash", "command", argument, RESTARTS="3", PAUSE_S="0")

    assert ended.returncode == status
    assert (in_tmp_path / "starts").read_text().splitlines() == [argument] * n_starts
    assert ended.stderr.count("of at most 3.") == n_starts - 1


@pytest.mark.parametrize(
    ("command", "status"),
    [([], 2), (["no-such-command"], 127), (["./notes"], 126)],
    ids=["none", "missing", "no program"],
)
def test_what_is_no_command_is_not_started_again(
    command: list[str], status: int, start: Start, in_tmp_path: Path
) -> None:
    (in_tmp_path / "notes").touch()

    ended = start("restart.sh", *command, RESTARTS="1", PAUSE_S="0")

    assert ended.returncode == status
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGUSR1", 138)])
def test_a_signal_to_the_script_ends_the_command_and_starts_no_other(
    name: str, status: int, in_tmp_path: Path
) -> None:
    (in_tmp_path / "command").write_text(COMMAND)
    script = subprocess.Popen([SCRIPTS / "restart.sh", "bash", "command", "waits"])
    end = time.monotonic() + 30
    while not (in_tmp_path / "starts").exists() and time.monotonic() < end:
        time.sleep(0.01)

    script.send_signal(signal.Signals[name])

    assert script.wait(30) == status
    assert (in_tmp_path / "starts").read_text() == "waits\n"
