#!/usr/bin/env bash
# Train on every device of this machine:  launch/local.sh --task=sr --preset=paper --batch_size=8
# --deterministic asks a GPU for the same bits every time; --devices=4 takes four devices only.
set -euo pipefail
exec python -m xmm_jax.train "$@"
