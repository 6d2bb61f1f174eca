#!/usr/bin/env bash
# One machine, all of its GPUs. Arguments go to `authface train`, for example:
#
#   launch/one-node.sh prior --name portraits --resume --set steps=20000
#
# PROCESSES says how many there are to be; left out, one for each GPU (or one, without a GPU).
set -euo pipefail

# A stop is passed on, and every process may save first: a full fine-tune writes 31 GB.
exec torchrun --standalone --nproc-per-node "${PROCESSES:-gpu}" \
  --shutdown-timeout "${SAVING_S:-600}" \
  -m authface train "$@"
