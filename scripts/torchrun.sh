#!/usr/bin/env bash
# Trains with one process per stage, started by torchrun. Settings are those of gru_parallel.train.
#
# One machine, one process per GPU:
#     scripts/torchrun.sh experiment=deep
# Two machines with eight GPUs each, the same command on both of them:
#     NNODES=2 RDZV_ENDPOINT=HOST:29400 scripts/torchrun.sh experiment=deep engine.data_parallel=2
#
#   NPROC_PER_NODE   processes on each machine (auto: one per GPU, or per core if there is no GPU)
#   NNODES           machines (1)
#   RDZV_ENDPOINT    HOST:PORT on one of the machines, which all others can reach; only if NNODES > 1
#   RDZV_ID          the name of the run, the same on all machines (gru_parallel); only if NNODES > 1
#   MAX_RESTARTS     how often a run that failed resumes from its last checkpoint (0)
#   TORCHRUN         the torchrun to use (torchrun, that of the active environment)
set -euo pipefail

nodes=${NNODES:-1}
if [[ $nodes == 1 ]]; then
    # A free port, so that two runs on one machine do not join each other.
    rendezvous=(--standalone)
elif [[ -n ${RDZV_ENDPOINT:-} ]]; then
    rendezvous=(--rdzv-backend c10d --rdzv-endpoint "$RDZV_ENDPOINT" --rdzv-id "${RDZV_ID:-gru_parallel}")
else
    echo "scripts/torchrun.sh: NNODES=$nodes machines find each other at one of them; set RDZV_ENDPOINT=HOST:PORT." >&2
    exit 2
fi

# torchrun's own default, without its warning.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

exec "${TORCHRUN:-torchrun}" --nnodes "$nodes" --nproc-per-node "${NPROC_PER_NODE:-auto}" \
    --max-restarts "${MAX_RESTARTS:-0}" "${rendezvous[@]}" \
    -m gru_parallel.train engine=processes "$@"
