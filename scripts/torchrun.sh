#!/usr/bin/env bash
# Trains with a process a stage, which torchrun starts. Settings are those of gru_parallel.train.
#
# One machine, a process a GPU:
#     scripts/torchrun.sh experiment=deep
# Two machines with eight GPUs each, the same command on both:
#     NNODES=2 RDZV_ENDPOINT=HOST:29400 scripts/torchrun.sh experiment=deep engine.data_parallel=2
#
#   NPROC_PER_NODE   processes on each machine (auto: its GPUs; where there is none, its cores)
#   NNODES           machines (1)
#   RDZV_ENDPOINT    HOST:PORT on one of the machines, which all others can reach; for several only
#   RDZV_ID          the name of the run, the same on all machines (gru_parallel); for several only
#   MAX_RESTARTS     how often a run that failed goes on from its last checkpoint (0)
#   TORCHRUN         the torchrun to use (torchrun, that of the active environment)
set -euo pipefail

nodes=${NNODES:-1}
if [[ $nodes == 1 ]]; then
    # A free port, so that two runs on one machine do not meet.
    meeting=(--standalone)
elif [[ -n ${RDZV_ENDPOINT:-} ]]; then
    meeting=(--rdzv-backend c10d --rdzv-endpoint "$RDZV_ENDPOINT" --rdzv-id "${RDZV_ID:-gru_parallel}")
else
    echo "scripts/torchrun.sh: NNODES=$nodes machines meet at one of them; set RDZV_ENDPOINT=HOST:PORT." >&2
    exit 2
fi

# torchrun's own default, without its warning.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

exec "${TORCHRUN:-torchrun}" --nnodes "$nodes" --nproc-per-node "${NPROC_PER_NODE:-auto}" \
    --max-restarts "${MAX_RESTARTS:-0}" "${meeting[@]}" \
    -m gru_parallel.train engine=processes "$@"
