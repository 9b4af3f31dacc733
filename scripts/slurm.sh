#!/usr/bin/env bash
# Trains with a process a stage under SLURM. Settings are those of gru_parallel.train.
#
# One machine with four GPUs, as the lines below say:
#     sbatch scripts/slurm.sh experiment=deep
# Two machines with eight GPUs each; options before the script win over the lines below:
#     sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 scripts/slurm.sh engine.data_parallel=2
#
# Submit it in the folder that outputs/ is to be in, with the environment active, or name its Python:
# PYTHON=.venv/bin/python. The folder of the run is outputs/slurm-JOB. Two minutes before its time is up
# the run writes a checkpoint and ends, and the job queues again and goes on from there.
#
#SBATCH --job-name=gru_parallel
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
# Not --gpus-per-task: with that a task sees its own GPU only, and a rank takes cuda:LOCAL_RANK.
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

# 128 and the number of SIGUSR1: how a run ends that this signal has stopped.
stopped_by_usr1=138

folder=outputs/slurm-$SLURM_JOB_ID
last=$folder/checkpoints/last.ckpt
settings=(engine=processes "$@" "hydra.run.dir=$folder")
if [[ ${SLURM_RESTART_COUNT:-0} -gt 0 && -f $last ]]; then
    # What the run began with is in the checkpoint.
    settings+=("init_from=null" "ckpt_path=$last")
fi

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR=${hosts%%$'\n'*}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
export WORLD_SIZE=$SLURM_NTASKS
export LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
export PYTHON=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Only a task knows its own number. It becomes Python itself, so that signals reach the rank.
# shellcheck disable=SC2016  # expanded by the task
task='RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec "$PYTHON" -m gru_parallel.train "$@"'

# A pre-empted or cancelled job gets SIGTERM: the script outlives it, to see how the ranks end.
trap : TERM

# Neighbouring ranks on one machine. Ranks end together by themselves; SLURM waits a minute for that.
status=0
srun --distribution=block --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --gpu-bind=none \
    --kill-on-bad-exit=0 --wait=60 bash -c "$task" rank "${settings[@]}" || status=$?

if [[ $status -eq $stopped_by_usr1 ]]; then
    echo "scripts/slurm.sh: time is nearly up; job $SLURM_JOB_ID queues again."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
