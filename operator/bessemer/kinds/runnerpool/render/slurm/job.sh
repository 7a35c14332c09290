#!/bin/bash
# Runs on the cluster's host for one GitLab job: submits the script in DIRECTORY/.slurm, tells its output as it comes, and
# its state. The other side writes a line to us every ten seconds: when that ends, so does the Slurm job. Nothing that is
# killed or cut off over there leaves one behind.
#
# The last line of standard error is "result STATE EXIT-CODE SIGNAL REASON".
set -u
cd "$1" || exit 1
own=.slurm
SILENCE_SECONDS=60 # six lines missed
LOOK_SECONDS=5     # between two looks at the state, at the most; the controller has other users
LAST_SECONDS=90    # for a cancelled job to end: Slurm itself kills after 30 s (KillWait)
LOST_SECONDS=600   # a controller that is upgraded is back by then
ACCOUNT_SECONDS=20 # for the accounting to hear of a job's end
LATE_SECONDS=10    # for a shared file system to show the end of the output
trap '' HUP PIPE

say() {
    printf 'slurm: %s\n' "$*"
}

result() {
    printf 'result %s\n' "$*" >&2
    exit 0
}

# tell_output: what was added to the output since the last time
told=0
tell_output() {
    local size
    size=$(stat -c %s "$own/output" 2>/dev/null) || return 0
    [ "$size" -gt "$told" ] || return 0
    tail -c +$((told + 1)) "$own/output" | head -c $((size - told))
    told=$size
}

# Fields that Slurm itself fills, each with its end: a job's comment, name or output is in none of them.
FIELDS='State:|,exit_code:|,NodeList:|,Reason:|'

look() {
    local record="" status
    if ! record=$(squeue --noheader --states=all --jobs="$id" --Format="$FIELDS" 2>"$own/said") || [ -z "$record" ]; then
        # A controller that has no such job any more is none that is silent: it forgets jobs MinJobAge after their end.
        if grep -q "Invalid job id" "$own/said" ||
            { [ ! -s "$own/said" ] && scontrol ping 2>/dev/null | grep -q " is UP"; }; then
            look_back
            return
        fi
        [ $((SECONDS - seen)) -lt "$LOST_SECONDS" ] || result "UNAVAILABLE 0 0 $(tail -n 1 "$own/said")"
        state=UNKNOWN
        return
    fi
    seen=$SECONDS forgotten=""
    IFS='|' read -r state status nodes reason <<<"$record"
    reason=${reason%|}
    # As wait(2) has it: the exit code above the signal.
    [[ $status =~ ^[0-9]{1,9}$ ]] || status=0
    code=$((status >> 8 & 255)):$((status & 127))
}

# look_back: how a job ended that the controller has forgotten, by the accounting where there is one. What that says may
# be some seconds old: that the job still runs is not its last word.
look_back() {
    local record="" found status
    forgotten=${forgotten:-$SECONDS}
    record=$(timeout 15 sacct --noheader --parsable2 --allocations --jobs="$id" --format=State,ExitCode,NodeList \
        2>/dev/null | tail -n 1)
    IFS='|' read -r found status nodes <<<"$record"
    found=${found%% *} # CANCELLED by 1000
    case $found in
    COMPLETED | FAILED | TIMEOUT | DEADLINE | OUT_OF_MEMORY | NODE_FAIL | BOOT_FAIL | PREEMPTED | REVOKED | CANCELLED)
        [[ $status =~ ^[0-9]{1,3}:[0-9]{1,3}$ ]] && code=$status
        state=$found reason=""
        return
        ;;
    esac
    state=UNKNOWN
    [ $((SECONDS - forgotten)) -lt "$ACCOUNT_SECONDS" ] ||
        result "FORGOTTEN 0 0 job $id (MinJobAge), and no accounting says it"
}

tell_state() {
    local now=""
    case $state in
    PENDING) now="job $id waits: $reason" ;;
    RUNNING) now="job $id runs on $nodes" ;;
    esac
    [ -z "$now" ] || [ "$now" = "$last" ] || say "$now"
    last=$now
}

mapfile -d '' options <"$own/options"
if ! id=$(sbatch --parsable "${options[@]}" --no-requeue --chdir="$1" --output="$1/$own/output" --error="$1/$own/output" \
    --open-mode=append "$own/script" 2>"$own/refusal" </dev/null); then
    said=$(tr '\n' ' ' <"$own/refusal")
    case $said in
    *"Unable to contact"* | *"timed out"* | *"temporarily unable"* | *"Connection refused"* | *"Zero Bytes"*)
        result "UNAVAILABLE 0 0 $said"
        ;;
    esac
    result "REFUSED 0 0 $said"
fi
id=${id%%;*}
state=PENDING reason="" nodes="" code=0:0 last=""
started=$SECONDS heard=$SECONDS seen=$SECONDS looked=-$LOOK_SECONDS stopping="" forgotten=""

while :; do
    pause=$((1 + (SECONDS - started) / 30))
    [ "$pause" -le "$LOOK_SECONDS" ] || pause=$LOOK_SECONDS
    if [ $((SECONDS - looked)) -ge "$pause" ]; then
        look
        looked=$SECONDS
        tell_state
    fi
    tell_output
    case $state in
    PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED | STAGE_OUT | SIGNALING | STOPPED | RESIZING | UNKNOWN) ;;
    *) break ;;
    esac
    [ -z "$stopping" ] || [ $((SECONDS - stopping)) -lt "$LAST_SECONDS" ] || break
    if [ -n "$stopping" ]; then
        read -r -t 0.5 <> <(:) || true
        continue
    fi
    read -r -t 0.5 _
    case $? in
    0) heard=$SECONDS ;;
    1) stopping=$SECONDS ;;
    esac
    [ $((SECONDS - heard)) -lt "$SILENCE_SECONDS" ] || stopping=$SECONDS
    [ -z "$stopping" ] || scancel --quiet "$id"
done

# The output is complete when it has not grown for a second; without any, it may be slow to appear.
late=$SECONDS before=-1
while [ "$told" != "$before" ] || { [ ! -e "$own/output" ] && [ $((SECONDS - late)) -lt "$LATE_SECONDS" ]; }; do
    before=$told
    read -r -t 0.5 <> <(:) || true
    ls "$own" >/dev/null # has a network file system look again
    tell_output
done
case $state in
COMPLETED | FAILED) [ -e "$own/output" ] || result "UNSEEN ${code%:*} ${code#*:} it ran on $nodes" ;;
esac
result "$state ${code%:*} ${code#*:} $reason"
