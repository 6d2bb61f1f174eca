#!/usr/bin/env bash
# One of several machines: run it on each with the same NODES, MEETING and RUN. Arguments go to
# `authface train`, for example on two machines of which the first is called trainer-0:
#
#   NODES=2 MEETING=trainer-0:29500 RUN=portraits launch/node.sh prior --name portraits --resume
#
# MEETING is host:port of any one of them, which the others can reach. All of them see the same
# workspace and base, under the same paths. A machine that dies ends the run on all; with RESTARTS
# above 0 they meet again, and go on from the newest checkpoint because of --resume.
set -euo pipefail

: "${NODES:?how many machines}" "${MEETING:?host:port of one of them}" "${RUN:?a name they share}"

exec torchrun --nnodes "$NODES" --nproc-per-node "${PROCESSES:-gpu}" \
  --rdzv-backend c10d --rdzv-endpoint "$MEETING" --rdzv-id "$RUN" \
  --max-restarts "${RESTARTS:-0}" --shutdown-timeout "${SAVING_S:-600}" \
  -m authface train "$@"
