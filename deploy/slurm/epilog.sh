#!/bin/sh
# Slurm's Epilog: clears away what the job's user left behind, and the node's target with its last job if so configured.
#   Epilog=/etc/yoloscope/epilog.sh
# Runs as root on every node of a job. It never fails: an epilog that does drains its node.
set -u
conf=${YOLOSCOPE_SLURM_CONF:-/etc/yoloscope/slurm.conf}
# shellcheck source=deploy/slurm/yoloscope.conf
if [ -r "$conf" ] && sh -n "$conf"; then . "$conf"; fi # a mistake in it would end this script, too
records=${YOLOSCOPE_DIR:-/dev/shm/yoloscope}
targets=${YOLOSCOPE_TARGETS_DIR:-}
keep=${YOLOSCOPE_KEEP_MINUTES:-60}
state=${YOLOSCOPE_STATE_DIR:-/run/yoloscope-slurm}
node=${SLURMD_NODENAME:-$(hostname -s)}
user=${SLURM_JOB_UID:-}

warn() { echo "yoloscope epilog: $*" >&2; }

# Whether a living process holds the lock of the record "$1".
alive() {
    grep -q "^[0-9]*: POSIX .*:$(stat -c %i "$1") " /proc/locks
}

# Minutes since the last write to the record "$1", from its own header (offset 80 of the format in
# trainer_hooks/yoloscope_hooks/record.py): stores into mapped memory leave the file's times alone.
idle_minutes() {
    od -An -t f8 -j 80 -N 8 "$1" | awk -v now="$(date +%s)" '{ printf "%d", (now - $1) / 60 }'
}

# Whether every record of the run "$1" is dead, and has been for long enough.
stale() {
    for record in "$1"/*.rec; do
        [ -f "$record" ] || continue
        if alive "$record" || [ "$(idle_minutes "$record")" -lt "$keep" ]; then
            return 1
        fi
    done
}

clear_records() {
    { [ -n "$user" ] && [ -d "$records" ] && [ ! -L "$records" ]; } || return 0
    find "$records" -mindepth 1 -maxdepth 1 -type d -user "$user" 2>/dev/null | while IFS= read -r run; do
        # as the user, so that nothing of anybody else's can be lost
        if stale "$run" && ! setpriv --reuid "$user" --clear-groups rm -rf -- "$run"; then
            warn "cannot remove $run"
        fi
    done
}

remove_target() {
    { [ -n "$targets" ] && [ "${YOLOSCOPE_REMOVE_TARGET:-no}" = yes ]; } || return 0
    [ -n "$(ls -A "$state/jobs" 2>/dev/null)" ] || rm -f "$targets/exporter-$node.yml"
}

main() {
    flock -w 5 9 || warn "no lock in $state"
    rm -f "$state/jobs/${SLURM_JOB_ID:-unknown}"
    clear_records
    remove_target
}

lock=/dev/null
if mkdir -p "$state/jobs" && [ -w "$state" ]; then lock="$state/lock"; else warn "cannot count jobs in $state"; fi
main 9>"$lock"
exit 0
