#!/bin/sh
# Slurm's TaskProlog: tells the job where the records are. Needed only where that is not /dev/shm/yoloscope.
#   TaskProlog=/etc/yoloscope/task-prolog.sh
# Runs as the user; what it prints as "export NAME=value" is added to the task's environment.
conf=${YOLOSCOPE_SLURM_CONF:-/etc/yoloscope/slurm.conf}
# shellcheck source=deploy/slurm/yoloscope.conf
if [ -r "$conf" ] && sh -n "$conf"; then . "$conf"; fi
echo "export YOLOSCOPE_DIR=${YOLOSCOPE_DIR:-/dev/shm/yoloscope}"
