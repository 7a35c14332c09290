#!/bin/sh
# Says of each daemon that our roles run, is installed and doesn't run, what its log says: one line for each. Run after a
# playbook has failed, whatever the task was: other tasks time out because a daemon has ended.
lines=60

runs() {
    for process in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$process/comm" && [ "$name" = "$1" ] && return 0
    done
    return 1
}

# The end of a log: of its last lines those that say what is wrong, else the last two.
pick() {
    tail -n "$lines" | tail -c 16384 | grep -v '^[[:space:]]*$' >"$scratch/tail"
    grep -aiE 'fatal|mismatch|unable|invalid|bad |fail|error|cannot|denied' "$scratch/tail" | tail -n 3 >"$scratch/picked"
    [ -s "$scratch/picked" ] || tail -n 2 "$scratch/tail" >"$scratch/picked"
    tr '\n' ';' <"$scratch/picked" | sed 's/;*$//; s/;/; /g'
}

read_log() { # unit, program, file
    if [ -s "$3" ]; then
        pick <"$3"
    elif command -v journalctl >/dev/null 2>&1 && journalctl --quiet --lines=1 >/dev/null 2>&1; then
        journalctl --quiet --unit "$1" --lines "$lines" --output cat 2>/dev/null | pick
    else
        for file in /var/log/syslog /var/log/messages /var/log/daemon.log; do
            if [ -s "$file" ]; then
                grep -a "$2" "$file" | pick
                return
            fi
        done
    fi
}

look() { # program, unit, log file
    command -v "$1" >/dev/null 2>&1 || return 0
    runs "$1" && return 0
    said=$(read_log "$2" "$1" "$3")
    [ -n "$said" ] && printf '%s does not run, its log says: %s\n' "$1" "$said"
}

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
scratch=$(mktemp -d) || exit 0
trap 'rm -rf "$scratch"' EXIT
look munged munge /var/log/munge/munged.log
look slurmctld slurmctld /var/log/slurm/slurmctld.log
look slurmd slurmd /var/log/slurm/slurmd.log
look chronyd chrony /nonexistent
if command -v dnsmasq >/dev/null 2>&1 && [ -e /etc/dnsmasq.d/bessemer.conf ] && ! runs dnsmasq; then
    dnsmasq --test >"$scratch/test" 2>&1 || printf 'dnsmasq says: %s\n' "$(pick <"$scratch/test")"
    look dnsmasq dnsmasq /var/log/bessemer-dnsmasq.log
fi
exit 0
