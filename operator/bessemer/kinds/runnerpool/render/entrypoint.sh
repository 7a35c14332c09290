#!/bin/bash
# What a runner pod runs: waits until it is sent for a job, has gitlab-runner take one, and ends with it.
#
# BESSEMER_MODE       Pods: take one job and end with it. Manager: take jobs until told to end
# BESSEMER_RUNNER     name of the runner in config.toml
# BESSEMER_SYSTEM_ID  by which GitLab knows this runner manager
# BESSEMER_HOME       a directory in memory with config.toml
# BESSEMER_GRACE      seconds that a job may take when the pod is told to end; then it fails as runner_interrupted
# BESSEMER_POD_UID    UID of this pod, by which the pods of its jobs are known
#
# A TERM or QUIT while it waits ends it at once. Later the runner is told to take no further job: one that it has taken
# runs to its end, if it does not take too long. (On TERM, gitlab-runner itself kills the job.)
set -u

sent_for=/etc/bessemer/pod/job
stopping=
runner=
interrupting=
jobs=
taken=0
outcome=NoJob
said= # by the runner, of why it has no job
failing= # since when, in seconds of this shell
failed=  # when last
MOST_JOBS=64        # that are told: more than one only where GitLab cancelled those before
MOST_LINE=4096      # characters of a line that are looked at
MOST_SAID=400       # characters of the runner's words that are told
FAILING_SECONDS=120 # for which a pod that asks for any job is not answered, and then ends: its pool says why
ANSWERED_SECONDS=40 # GitLab may take 50 to answer: failures further apart had an answer in between

finish() { # exit code
    printf '{"outcome":"%s","jobs":[%s],"said":"%s"}' "$outcome" "$jobs" "$said" >/dev/termination-log
    exit "$1"
}

# hear TEXT: keep what the runner has said, as it may stand in a string of JSON: printable ASCII without quotes
hear() {
    local LC_ALL=C text=$1
    text=${text//\\u????/?}
    text=${text//\\\"/\'}
    text=${text//\\?/ }
    text=${text//[^ -~]/?}
    text=${text//[\"\\]/?}
    said=${text:0:MOST_SAID}
}

# hear_line LINE: of the runner's log, while it has no job: why it got none, or what else went wrong
hear_line() {
    local line=${1:0:MOST_LINE}
    local text='"(status|error)":"(([^"\\]|\\.)*)"' message='"msg":"(([^"\\]|\\.)*)"'
    case $line in
    *'"msg":"Checking for jobs... '*) [[ $line =~ $text ]] && hear "${BASH_REMATCH[2]}" ;;
    *'"level":"error"'* | *'"level":"fatal"'* | *'"level":"panic"'*) [[ $line =~ $message ]] && hear "${BASH_REMATCH[1]}" ;;
    '{'*) ;;
    *) hear "${line//[\\]/\\\\}" ;; # no line of its log: bash's word, or Go's
    esac
}

# count_failure: a request was not answered; one that asks for any job would ask for ever
count_failure() {
    [ -n "$failing" ] && [ $((SECONDS - failed)) -le "$ANSWERED_SECONDS" ] || failing=$SECONDS
    failed=$SECONDS
    if [ "$job" = any ] && [ $((SECONDS - failing)) -ge "$FAILING_SECONDS" ] && [ "$outcome" = NoJob ]; then
        outcome=NotAnswered
        kill -QUIT "$runner" # it is in its pause of 3 s
    fi
}

interrupt() {
    # TERM has the runner end the job, and tell GitLab when the script has ended; after 30 s it ends without a message.
    sleep "$BESSEMER_GRACE"
    kill -TERM "$runner" || return
    sleep 10
    for script in $(cat "/proc/$runner/task/"*/children); do
        kill -KILL -- "-$script"
    done
}

stop() {
    stopping=yes
    [ -n "$runner" ] || return
    # Once only: at a second TERM the runner ends at once.
    [ -n "$interrupting" ] || interrupt 2>/dev/null &
    interrupting=yes
    if [ "$BESSEMER_MODE" = Manager ]; then
        # It would drop a request under way, with the job that GitLab may answer. So it is left without a runner first,
        # as it reads its file every 3 s, and told to quit when GitLab must have answered.
        echo 'concurrent = 1' >"$BESSEMER_HOME/config.toml"
        { sleep 10 && kill -QUIT "$runner" 2>/dev/null; } &
    else
        kill -QUIT "$runner" 2>/dev/null
    fi
}
trap stop TERM QUIT INT

# Waiting: reads of a pipe that nothing comes from, as each sleep would be a process.
exec {never}<> <(:)
job=
[ -s "$sent_for" ] || echo "waits to be sent for a job"
until [ -n "$job" ]; do
    [ -z "$stopping" ] || finish 0
    read -r job <"$sent_for"
    [ -n "$job" ] || read -r -t 0.1 -u "$never"
done

# The configuration has the runner's token, and a job, which is the same user, can read what the runner can: gitlab-runner
# gets it by a pipe, once, and the file is gone before it starts. This shell never has it, as a job can read its memory.
# A manager reads its file again and again; its jobs run in other pods.
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
    # Assigned a job, it asks once: if another runner was faster, it exits. If the waiting jobs are not known, it continues.
    [ "$job" = any ] || arguments+=(--wait-timeout 1)
    # Who may not read a program may not read its memory either (Linux, fs/exec.c, would_dump).
    { read -r scope </proc/sys/kernel/yama/ptrace_scope; } 2>/dev/null || scope=0
    if [ -r "$(type -P gitlab-runner)" ] && [ "$scope" = 0 ]; then
        echo "a job in this pod can read the runner's token from its memory: chmod 0711 gitlab-runner in the image"
    fi
fi

set -m # or the runner would be started with QUIT ignored
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
    *'"msg":"Checking for jobs... received"'*) # quotes and all, which no name of a job in a line can have
        outcome=JobTaken said=
        if [[ $line =~ \"job\":([0-9]+) ]] && [ $((taken += 1)) -le "$MOST_JOBS" ]; then
            jobs=${jobs:+$jobs,}${BASH_REMATCH[1]}
        fi
        ;;
    *'"msg":"Checking for jobs... forbidden"'*)
        # It would be silent for five minutes now, deaf to QUIT. It has no job.
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
# Told to end before it listens to signals, it dies of them; it has asked for nothing then.
[ "$BESSEMER_MODE.$outcome" != Pods.NoJob ] || [ -z "$stopping" ] || finish 0
finish "$code"
