#!/usr/bin/env bash
# A SLURM cluster of this one machine, for tests:  tests/slurm/start.sh FOLDER
# Runs until it is interrupted. Keys, settings, state and logs are in FOLDER; jobs are submitted with
# SLURM_CONF=FOLDER/slurm.conf. Needs root and Debian's slurmctld, slurmd, slurm-client and munge.
set -euo pipefail
folder=$(realpath "$1")
host=$(hostname -s)
mkdir -p "$folder/state" "$folder/spool"

cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_TEST_PORT:-26817}
SlurmdPort=$((${SLURM_TEST_PORT:-26817} + 1))
SlurmUser=root
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobs.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
GresTypes=gpu
ReturnToService=2
KillWait=60
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
# So that a script that asks for GPUs runs as it is; nothing here is one.
printf 'Name=gpu File=/dev/%s\n' null zero >"$folder/gres.conf"

# munged wants a folder that nobody else can write in.
dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 status=none
chmod 0755 "$folder"
chmod 0400 "$folder/munge.key"
export SLURM_CONF="$folder/slurm.conf"
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT INT TERM
munged --foreground --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munge.pid" --log-file="$folder/munge.log" --seed-file="$folder/munge.seed" &
slurmctld -D -c &
slurmd -D -N "$host" &
wait
