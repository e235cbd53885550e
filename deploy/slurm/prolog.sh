#!/bin/sh
# Slurm's Prolog: makes the record directory and tells Prometheus about this node.
#   Prolog=/etc/yoloscope/prolog.sh
# Runs as root on every node of a job. It never fails: a prolog that does takes its node out of service.
set -u
umask 022
conf=${YOLOSCOPE_SLURM_CONF:-/etc/yoloscope/slurm.conf}
# shellcheck source=deploy/slurm/yoloscope.conf
if [ -r "$conf" ] && sh -n "$conf"; then . "$conf"; fi # a mistake in it would end this script, too
records=${YOLOSCOPE_DIR:-/dev/shm/yoloscope}
targets=${YOLOSCOPE_TARGETS_DIR:-}
port=${YOLOSCOPE_PORT:-9911}
state=${YOLOSCOPE_STATE_DIR:-/run/yoloscope-slurm}
node=${SLURMD_NODENAME:-$(hostname -s)}

warn() { echo "yoloscope prolog: $*" >&2; }

# In /dev/shm anybody may lay a link or a directory of that name, and exchange it between two commands. So the directory
# is entered first, and from then on it is ".", which nobody can exchange: its mode is changed if it is our own (root's),
# and if "$records" itself is this directory and no link to it. (stat follows no link.)
prepare_records() (
    mkdir -p -- "$(dirname -- "$records")" && { mkdir -- "$records" 2>/dev/null || [ -d "$records" ]; } \
        && cd -P -- "$records" || exit 1
    found=$(stat -c %u:%d:%i .) && [ "$found" = "$(id -u):$(stat -c %d:%i -- "$records")" ] && chmod 1777 .
)

write_target() {
    [ -n "$targets" ] || return 0
    # Prometheus reads exporter*.yml, and JSON is YAML. The half-written file has another name; the rename is atomic.
    new="$targets/.$node.new.$$"
    group=$(printf '[{"targets": ["%s:%s"], "labels": {"cluster": "%s"}}]' \
        "$node" "$port" "${SLURM_CLUSTER_NAME:-slurm}")
    if ! mkdir -p "$targets" || ! echo "$group" >"$new" || ! chmod 0644 "$new" \
        || ! mv -f "$new" "$targets/exporter-$node.yml"; then
        warn "cannot write $targets/exporter-$node.yml"
    fi
}

# Jobs of this node are counted by one empty file each; the lock keeps a prolog and an epilog apart.
main() {
    flock -w 5 9 || warn "no lock in $state"
    touch "$state/jobs/${SLURM_JOB_ID:-unknown}"
    prepare_records || warn "cannot prepare $records: not a directory of our own, or no permission"
    write_target
}

# A file system that does not answer (targets on NFS, somebody's FUSE) must not hold up the job.
if [ "${1:-}" = main ]; then
    main
    exit 0
fi
lock=/dev/null
if mkdir -p "$state/jobs" && [ -w "$state" ]; then lock="$state/lock"; else warn "cannot count jobs in $state"; fi
timeout -k 5 30 sh "$0" main 9>"$lock" || warn "not done within 30 s"
exit 0
