"""Talking to the SLURM cluster that ``slurm/start.sh`` makes of this machine."""

import subprocess
import time


def slurm(env, *command):
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout


def wait_until(happened, seconds=300):
    for _ in range(5 * seconds):
        if happened():
            return
        time.sleep(0.2)
    raise TimeoutError
