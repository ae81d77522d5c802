#!/usr/bin/env bash
# Train on every device of this machine:  launch/local.sh --task=sr --preset=paper
set -euo pipefail
exec python -m xmm_jax.train "$@"
