#!/usr/bin/env bash
# Train on a Cloud TPU pod slice:  launch/tpu_pod.sh NAME ZONE --task=sr --preset=paper
# Every worker must have the package:  pip install 'xmm-jax[tpu]'
set -euo pipefail
name=$1 zone=$2
shift 2
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="python -m xmm_jax.train $(printf '%q ' "$@")"
