#!/usr/bin/env bash
# Trains with one process per stage under SLURM. Settings are those of gru_parallel.train.
#
# One machine with four GPUs, the default below:
#     sbatch scripts/slurm.sh experiment=deep
# Two machines with eight GPUs each; options before the script override the lines below:
#     sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 scripts/slurm.sh experiment=deep engine.data_parallel=2
#
# Submit it from the folder that is to contain outputs/, with the environment active, or name its Python:
# PYTHON=.venv/bin/python. The folder of the run is outputs/slurm-JOB. Two minutes before the time limit
# the run writes a checkpoint and ends; the job is then queued again and resumes from there.
#
#SBATCH --job-name=gru_parallel
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
# Not --gpus-per-task: with that a task sees only its own GPU, but a rank uses cuda:LOCAL_RANK.
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

# 128 plus the number of SIGUSR1: the exit status of a run that this signal has stopped.
stopped_by_usr1=138

folder=outputs/slurm-$SLURM_JOB_ID
settings=(engine=processes "$@" "hydra.run.dir=$folder")
if [[ ${SLURM_RESTART_COUNT:-0} -gt 0 ]] && compgen -G "$folder/checkpoints/*.ckpt" >/dev/null; then
    # The weights that the run started with are in the checkpoint.
    settings+=("init_from=null" "ckpt_path=last")
fi

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR=${hosts%%$'\n'*}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
export PYTHON=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Only a task knows its own number. It replaces itself by Python, so that signals reach the rank.
# shellcheck disable=SC2016  # expanded by the task
task='RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec "$PYTHON" -m gru_parallel.train "$@"'

# A pre-empted or cancelled job gets SIGTERM: the script ignores it, to see how the ranks end.
trap : TERM

# Neighbouring ranks are put on one machine. Ranks end together by themselves; SLURM waits a minute for that.
status=0
srun --distribution=block --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --gpu-bind=none \
    --kill-on-bad-exit=0 --wait=60 bash -c "$task" rank "${settings[@]}" || status=$?

if [[ $status -eq $stopped_by_usr1 ]]; then
    echo "scripts/slurm.sh: the time limit is near; job $SLURM_JOB_ID is queued again."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
