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
# runs to its end, if it does not take too long. (gitlab-runner's own answer to TERM is to kill the job.)
set -u

sent_for=/etc/bessemer/pod/job
stopping=
runner=
interrupting=
jobs=
outcome=NoJob

finish() { # exit code
    printf '{"outcome":"%s","jobs":[%s]}' "$outcome" "$jobs" >/dev/termination-log
    exit "$1"
}

interrupt() {
    # TERM has the runner end the job, and tell GitLab when the script has ended; after 30 s it ends without a word.
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
    # Sent for a job, it asks once: if another runner was faster, it ends. Where nobody knows which jobs wait, it goes on.
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
        outcome=JobTaken
        [[ $line =~ \"job\":([0-9]+) ]] && jobs=${jobs:+$jobs,}${BASH_REMATCH[1]}
        ;;
    *'"msg":"Checking for jobs... forbidden"'*)
        # It would be silent for five minutes now, deaf to QUIT. It has no job.
        outcome=Forbidden
        kill -TERM "$runner"
        ;;
    esac
done
wait "$runner"
code=$?
[ "$outcome" != Forbidden ] || finish 1
# Told to end before it listens to signals, it dies of them; it has asked for nothing then.
[ "$BESSEMER_MODE.$outcome" != Pods.NoJob ] || [ -z "$stopping" ] || finish 0
finish "$code"
