#!/bin/sh
# Slurm's Epilog: clears away what the job's user left behind, and the node's target with its last job if so configured.
#   Epilog=/etc/yoloscope/epilog.sh
# Runs as root on every node of a job. It never fails: an epilog that does drains its node.
set -u
umask 022
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

# --- as the job's user, with that user's rights alone ---------------------------------------------------------------

# "$3" bytes at "$2" of the record "$1" (the format is that of trainer_hooks/yoloscope_record/file_format.py). What has become
# a link or a FIFO since it was found gives nothing, and is not waited for.
field() { dd if="$1" iflag=nofollow,nonblock bs=1 skip="$2" count="$3" 2>/dev/null; }

# Whether a living process holds the lock of the record "$1".
alive() { grep -q "^[0-9]*: POSIX .*:$(stat -c %i "$1") " /proc/locks; }

# Minutes since the last write to the record "$1", by its own header: version 0.1 wrote through mapped memory, which leaves
# the file's times alone.
idle_minutes() {
    field "$1" 80 8 | od -An -t f8 | LC_ALL=C awk -v now="$(date +%s)" '{ printf "%d", (now - $1) / 60 }'
}

# Whether "$1" is a record, dead, and has been for long enough.
stale() {
    [ -f "$1" ] && [ ! -L "$1" ] && [ "$(field "$1" 0 8)" = YOLOSCP ] && ! alive "$1" \
        && [ "$(idle_minutes "$1")" -ge "$keep" ] 2>/dev/null
}

# Whether "$1" holds the stacks of a process that has ended, or nothing yet of one that ended over making it.
dead_stacks() {
    [ -f "$1" ] && [ ! -L "$1" ] && { [ ! -s "$1" ] || [ "$(field "$1" 0 16)" = yoloscope-stacks ]; } && ! alive "$1"
}

# Remove the records in the run's directory "$1" if all of them are stale, with the stacks beside them, and the directory
# if nothing else is in it.
clear_run() {
    for record in "$1"/*.rec; do
        stale "$record" || return 0
    done
    for stacks in "$1"/rank-*.stacks; do
        [ ! -e "$stacks" ] || dead_stacks "$stacks" || return 0
    done
    for stacks in "$1"/rank-*.stacks; do
        if dead_stacks "$stacks"; then rm -f -- "$stacks"; fi
    done
    for record in "$1"/*.rec; do # a new one may have come
        if stale "$record"; then rm -f -- "$record"; fi
    done
    rmdir -- "$1" 2>/dev/null
}

clear_runs() {
    cd -P -- "$records" && [ "$(stat -c %d:%i .)" = "$(stat -c %d:%i -- "$records")" ] || return 0
    # runs lie in the user's directory; those of version 0.1 beside it
    find . -mindepth 1 -maxdepth 2 -type d -user "$(id -u)" | while IFS= read -r run; do clear_run "$run"; done
}

# --- as root --------------------------------------------------------------------------------------------------------

# Nothing below the record directory is touched as root. The script goes along as text, for the user may not be able to
# read it; and a file system of the user's own that does not answer is waited for so long, and no longer.
clear_records() {
    { [ -n "$user" ] && [ -d "$records" ] && [ ! -L "$records" ]; } || return 0
    group=${SLURM_JOB_GID:-$(id -g -- "$user")} || return 0
    timeout -k 5 30 setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs \
        env -i PATH="$PATH" YOLOSCOPE_SLURM_CONF=/dev/null YOLOSCOPE_DIR="$records" YOLOSCOPE_KEEP_MINUTES="$keep" \
        sh -c "$(cat "$0")" "$0" clear </dev/null 9>&- || warn "cannot clear $records of the records of user $user"
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

case ${1:-} in
clear)
    clear_runs
    exit 0
    ;;
main)
    main
    exit 0
    ;;
esac
lock=/dev/null
if mkdir -p "$state/jobs" && [ -w "$state" ]; then lock="$state/lock"; else warn "cannot count jobs in $state"; fi
timeout -k 5 60 sh "$0" main 9>"$lock" || warn "not done within 60 s"
exit 0
