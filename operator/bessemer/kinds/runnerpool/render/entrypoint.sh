#!/bin/bash
# Entry point of a runner pod: waits until it is sent for a job, lets gitlab-runner take one, and ends with it.
#
# BESSEMER_MODE       Pods: take one job and end after it. Manager: take jobs until told to end
# BESSEMER_RUNNER     name of the runner in config.toml
# BESSEMER_SYSTEM_ID  ID of this runner manager in GitLab
# BESSEMER_HOME       directory in memory that contains config.toml
# BESSEMER_GRACE      seconds that a job may run after the pod was told to end; then it fails as runner_interrupted
# BESSEMER_POD_UID    UID of this pod, with which the pods of its jobs are labelled
#
# TERM or QUIT ends a waiting pod at once. Later, the runner is told to take no further job; a job that it has taken
# runs to its end, within BESSEMER_GRACE. (On TERM, gitlab-runner itself would kill the job.)
set -u

sent_for=/etc/bessemer/pod/job
stopping=
runner=
interrupting=
jobs=
taken=0
outcome=NoJob
said= # the runner's message: why it has no job
failing= # time of the first failure in a row, in seconds of this shell
failed=  # time of the last failure
MOST_JOBS=64        # maximum reported: more than one only if GitLab cancelled the earlier ones
MOST_LINE=4096      # maximum characters of a line that are parsed
MOST_SAID=400       # maximum characters of the runner's message that are reported
FAILING_SECONDS=120 # a pod that asks for any job ends after so long without an answer: its pool reports why
HEEDS_TRIES=100     # tenths of a second until the runner is told to quit, whether it seems to heed it or not
ANSWERED_SECONDS=40 # GitLab may take 50 to answer: between failures further apart there was an answer

finish() { # exit code
    printf '{"outcome":"%s","jobs":[%s],"said":"%s"}' "$outcome" "$jobs" "$said" >/dev/termination-log
    exit "$1"
}

# hear TEXT: store the runner's message so that it is valid in a JSON string: printable ASCII without quotes
hear() {
    local LC_ALL=C text=$1
    text=${text//\\u????/?}
    text=${text//\\\"/\'}
    text=${text//\\?/ }
    text=${text//[^ -~]/?}
    text=${text//[\"\\]/?}
    said=${text:0:MOST_SAID}
}

# hear_line LINE: parse a line of the log of a runner without a job: why it got none, or another error
hear_line() {
    local line=${1:0:MOST_LINE}
    local text='"(status|error)":"(([^"\\]|\\.)*)"' message='"msg":"(([^"\\]|\\.)*)"'
    case $line in
    *'"msg":"Checking for jobs... '*) [[ $line =~ $text ]] && hear "${BASH_REMATCH[2]}" ;;
    *'"level":"error"'* | *'"level":"fatal"'* | *'"level":"panic"'*) [[ $line =~ $message ]] && hear "${BASH_REMATCH[1]}" ;;
    '{'*) ;;
    *) hear "${line//[\\]/\\\\}" ;; # not a line of its log: a message of bash or Go
    esac
}

# count_failure: count a request without an answer; a pod that asks for any job would otherwise ask forever
count_failure() {
    [ -n "$failing" ] && [ $((SECONDS - failed)) -le "$ANSWERED_SECONDS" ] || failing=$SECONDS
    failed=$SECONDS
    if [ "$job" = any ] && [ $((SECONDS - failing)) -ge "$FAILING_SECONDS" ] && [ "$outcome" = NoJob ]; then
        outcome=NotAnswered
        kill -QUIT "$runner" # it is pausing for 3 s
    fi
}

interrupt() {
    # On TERM the runner stops the job, and reports to GitLab when the script has ended; after 30 s it ends silently.
    sleep "$BESSEMER_GRACE"
    kill -TERM "$runner" || return
    sleep 10
    for script in $(cat "/proc/$runner/task/"*/children); do
        kill -KILL -- "-$script"
    done
}

# heeds_quit: whether the runner has asked for QUIT, which kills it before. Go then leaves QUIT unblocked in the one
# thread that blocks all other signals, such as USR2 (Go, src/runtime/signal_unix.go, ensureSigM).
heeds_quit() {
    local status key value
    for status in "/proc/$runner/task/"*/status; do
        while read -r key value; do
            [ "$key" = SigBlk: ] && ((16#$value >> 11 & 1 && !(16#$value >> 2 & 1))) && return
        done <"$status"
    done
    return 1
}

# ask_to_quit: tell the runner to take no further job. It asks GitLab for a job just before it heeds QUIT; killed in
# between, it would leave the job that it is given without a runner. The second QUIT is for one that Go has dropped,
# since the runner did not listen yet (os/signal.Notify with a channel without a buffer); heard, it changes nothing.
# After the TERM of interrupt, it would.
ask_to_quit() {
    local tries=0 asked=$SECONDS
    until heeds_quit || [ $((tries += 1)) -gt "$HEEDS_TRIES" ]; do
        kill -0 "$runner" || return
        read -r -t 0.1 -u "$never"
    done
    kill -QUIT "$runner" && sleep 1 && [ $((SECONDS - asked)) -lt "$BESSEMER_GRACE" ] && kill -QUIT "$runner"
}

stop() {
    stopping=yes
    [ -n "$runner" ] || return
    # Only once: a second TERM ends the runner at once.
    [ -n "$interrupting" ] || interrupt 2>/dev/null &
    interrupting=yes
    if [ "$BESSEMER_MODE" = Manager ]; then
        # On QUIT it would drop an open request, and with it a job that GitLab may return. So its configuration, which
        # it reads every 3 s, is first left without a runner; it is told to quit when GitLab must have answered.
        echo 'concurrent = 1' >"$BESSEMER_HOME/config.toml"
        { sleep 10 && kill -QUIT "$runner" 2>/dev/null; } &
    else
        ask_to_quit 2>/dev/null &
    fi
}
trap stop TERM QUIT INT

# Waits by reading from a pipe without a writer, because each sleep would be a process.
exec {never}<> <(:)
job=
[ -s "$sent_for" ] || echo "waits to be sent for a job"
until [ -n "$job" ]; do
    [ -z "$stopping" ] || finish 0
    read -r job <"$sent_for"
    [ -n "$job" ] || read -r -t 0.1 -u "$never"
done

# The configuration contains the runner's token, and a job, which has the same user, can read whatever the runner can.
# So gitlab-runner gets it once, through a pipe, and the file is deleted before the runner starts. This shell never
# holds it, because a job can read its memory. A manager reads its file repeatedly; its jobs run in other pods.
fail() {
    outcome=NoConfiguration
    finish 1
}
{ exec {source}<"$BESSEMER_HOME/config.toml"; } && rm "$BESSEMER_HOME/config.toml" || fail
[ "$BESSEMER_MODE" = Manager ] || mkfifo -m 600 "$BESSEMER_HOME/config.toml" || fail
printf %s "$BESSEMER_SYSTEM_ID" >"$BESSEMER_HOME/.runner_system_id" || fail
umask 077
sed "s/@RUNNER_UID@/$BESSEMER_POD_UID/g" <&"$source" >"$BESSEMER_HOME/config.toml" &
written=$!
exec {source}<&-
umask 022

if [ "$BESSEMER_MODE" = Manager ]; then
    wait "$written" || fail
    arguments=(run -c "$BESSEMER_HOME/config.toml")
else
    arguments=(run-single -c "$BESSEMER_HOME/config.toml" -r "$BESSEMER_RUNNER" --max-builds 1)
    # A pod sent for a job asks once, and exits if another runner was faster. If waiting jobs are unknown, it continues.
    [ "$job" = any ] || arguments+=(--wait-timeout 1)
    # A user who may not read a program may not read its memory, either (Linux, fs/exec.c, would_dump).
    { read -r scope </proc/sys/kernel/yama/ptrace_scope; } 2>/dev/null || scope=0
    if [ -r "$(type -P gitlab-runner)" ] && [ "$scope" = 0 ]; then
        echo "a job in this pod can read the runner's token from its memory: chmod 0711 gitlab-runner in the image"
    fi
fi

set -m # otherwise the runner would be started with QUIT ignored
exec {log}< <(exec gitlab-runner --log-format json "${arguments[@]}" 2>&1)
runner=$!
set +m
[ -z "$stopping" ] || stop

while :; do
    line=
    read -r -u "$log" line || {
        # Interrupted by a signal, or at the end.
        [ -n "$line" ] || kill -0 "$runner" 2>/dev/null || break
    }
    [ -n "$line" ] || continue
    printf '%s\n' "$line"
    [ "$BESSEMER_MODE" = Pods ] || continue
    case $line in
    *'"msg":"Checking for jobs... received"'*) # with the quotes, which no job name in a line can contain
        outcome=JobTaken said=
        if [[ $line =~ \"job\":([0-9]+) ]] && [ $((taken += 1)) -le "$MOST_JOBS" ]; then
            jobs=${jobs:+$jobs,}${BASH_REMATCH[1]}
        fi
        ;;
    *'"msg":"Checking for jobs... forbidden"'*)
        # The runner has no job; now it would pause for five minutes and ignore QUIT.
        outcome=Forbidden
        hear_line "$line"
        kill -TERM "$runner"
        ;;
    *'"msg":"Checking for jobs... '*)
        [ "$outcome" = JobTaken ] || hear_line "$line"
        count_failure
        ;;
    *) [ "$outcome" = JobTaken ] || hear_line "$line" ;;
    esac
done
wait "$runner"
code=$?
case $outcome in Forbidden | NotAnswered) finish 1 ;; esac
# A runner that gets a signal before it handles signals is killed by it; it has not asked for a job yet.
[ "$BESSEMER_MODE.$outcome" != Pods.NoJob ] || [ -z "$stopping" ] || finish 0
finish "$code"
