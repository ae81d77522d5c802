#!/usr/bin/env bash
# Train on a Cloud TPU pod slice:  launch/tpu_pod.sh NAME ZONE --task=sr --preset=paper --run=/shared/sr
# Every worker needs the package (pip install 'xmm-jax[tpu]') and the same --run and --data folders:
# a file system that all of them mount, such as Filestore.
set -euo pipefail
name=$1 zone=$2
shift 2
# "auto": JAX asks the metadata server of the pod who the others are.
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="python -m xmm_jax.train --coordinator=auto $(printf '%q ' "$@")"
