#!/usr/bin/env bash
# Starts a training again whenever it has died, until it is done.
#
# What follows is the command, with a folder of its own and ckpt_path=last: it begins where there is no
# checkpoint yet, and otherwise is resumed from the newest good one.
#     scripts/restart.sh gru-parallel train hydra.run.dir=outputs/mine ckpt_path=last experiment=deep
#     scripts/restart.sh scripts/torchrun.sh hydra.run.dir=outputs/mine ckpt_path=last experiment=deep
#
#   RESTARTS   how often at most (10)
#   PAUSE_S    seconds before each restart (1)
#
# It ends, with the status of the command, when that is done, was stopped by a signal, refused its
# settings or does not exist. SIGTERM and Ctrl-C to this script reach the command as one SIGTERM, SIGUSR1 as itself.
set -uo pipefail

if (($# == 0)); then
    echo "scripts/restart.sh: starts a command again until it is done; give the command: scripts/restart.sh COMMAND ..." >&2
    exit 2
fi

restarts=${RESTARTS:-10}
child=
stopped=

stop() {
    stopped=$1
    [[ -z $child ]] || kill "-$stopped" "$child" 2>/dev/null
}
trap 'stop TERM' INT TERM HUP
trap 'stop USR1' USR1

for ((n = 1; ; n++)); do
    # In a session of its own, so that Ctrl-C does not reach it twice.
    setsid "$@" &
    child=$!
    # The signal may have come before there was a child to pass it on to.
    [[ -z $stopped ]] || kill "-$stopped" "$child" 2>/dev/null
    status=0
    wait "$child" || status=$?
    # A signal ends a wait, too.
    while kill -0 "$child" 2>/dev/null; do
        status=0
        wait "$child" || status=$?
    done
    child=
    case $status in
        0 | 2 | 126 | 127 | 130 | 138 | 143) exit "$status" ;;
    esac
    [[ -z $stopped ]] || exit "$status"
    if ((n > restarts)); then
        echo "scripts/restart.sh: ended with status $status after $restarts restarts; not started again." >&2
        exit "$status"
    fi
    echo "scripts/restart.sh: ended with status $status; restart $n of at most $restarts." >&2
    sleep "${PAUSE_S:-1}"
    [[ -z $stopped ]] || exit "$status"
done
