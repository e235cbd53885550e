#!/bin/sh
# Slurm's Prolog: makes the record directory and tells Prometheus about this node.
#   Prolog=/etc/yoloscope/prolog.sh
# Runs as root on every node of a job. It never fails: a prolog that does takes its node out of service.
set -u
conf=${YOLOSCOPE_SLURM_CONF:-/etc/yoloscope/slurm.conf}
# shellcheck source=deploy/slurm/yoloscope.conf
if [ -r "$conf" ] && sh -n "$conf"; then . "$conf"; fi # a mistake in it would end this script, too
records=${YOLOSCOPE_DIR:-/dev/shm/yoloscope}
targets=${YOLOSCOPE_TARGETS_DIR:-}
port=${YOLOSCOPE_PORT:-9911}
state=${YOLOSCOPE_STATE_DIR:-/run/yoloscope-slurm}
node=${SLURMD_NODENAME:-$(hostname -s)}

warn() { echo "yoloscope prolog: $*" >&2; }

prepare_records() {
    # a link laid here by a user would have its target opened to all
    if [ -L "$records" ] || ! mkdir -p "$records" || ! chmod 1777 "$records"; then
        warn "cannot prepare $records: no directory, or no permission"
    fi
}

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
    prepare_records
    write_target
}

lock=/dev/null
if mkdir -p "$state/jobs" && [ -w "$state" ]; then lock="$state/lock"; else warn "cannot count jobs in $state"; fi
main 9>"$lock"
exit 0
