#!/bin/bash
# Executor Slurm, as programs of GitLab Runner's Custom executor: executor.sh config|prepare|run|cleanup [SCRIPT STAGE].
# Source: https://docs.gitlab.com/runner/executors/custom/
#
# A job's script runs under sbatch on the cluster; sources, caches and artifacts are seen to here, in the runner pod. So
# the cluster needs neither gitlab-runner, nor Git, nor a way to GitLab. The job's directory has the same path in both
# places: it goes to the cluster before the script, and comes back only for a stage that uploads something.
#
# BESSEMER_HOME       a directory with the runner's own files, of which these are for us:
#   slurm-settings    an assignment of BUILDS, OWNER and OPTIONS, for bash
#   slurm-ssh-config  how ssh reaches the cluster, under the name "cluster"
#   slurm-job.sh      what runs on the cluster
#   slurm-identity    the private key, until an agent holds it
set -u -o pipefail

home=$BESSEMER_HOME
# shellcheck disable=SC1091  # rendered by the operator
. "$home/slurm-settings"
scratch=$TMPDIR # of this job, removed by gitlab-runner
BEAT_SECONDS=10
MOST_CHARACTERS=4096 # of SCHEDULER_PARAMETERS

say() {
    printf 'slurm: %s\n' "$*"
}

fail_system() {
    say "$*"
    exit "$SYSTEM_FAILURE_EXIT_CODE"
}

fail_build() { # exit code of the job, what to say
    printf '%s\n' "$1" >"${BUILD_EXIT_CODE_FILE:-/dev/null}"
    shift
    say "$*"
    exit "$BUILD_FAILURE_EXIT_CODE"
}

# A job may set this variable, and paths are made of it: it has to be the number that gitlab-runner itself has written.
job=$CUSTOM_ENV_CI_JOB_ID number=$CUSTOM_ENV_CI_JOB_ID
if [ -n "${JOB_RESPONSE_FILE:-}" ]; then
    head=$(head -c 64 "$JOB_RESPONSE_FILE")
    [[ $head =~ ^\{\"id\":([0-9]+), ]] || fail_system "gitlab-runner does not say the number of the job"
    number=${BASH_REMATCH[1]}
fi
[[ $job =~ ^[1-9][0-9]{0,17}$ && $job = "$number" ]] || fail_build 1 "CI_JOB_ID is not the number of the job"
directory=$BUILDS/$OWNER-$job # of the job, here and on the cluster
own=$directory/.slurm

# on_cluster COMMAND...: a command of fixed words and paths that we made; input and output are the caller's
on_cluster() {
    ssh -F "$home/slurm-ssh-config" cluster "$(printf '%q ' "$@")"
}

config() {
    printf '{"driver":{"name":"Bessemer Slurm"},"builds_dir":"%s","cache_dir":"%s","builds_dir_is_shared":false}\n' \
        "$directory" "$BUILDS/cache"
}

# A job's own scripts run in the pod, too, such as its hooks, as the user that we are. What they could read they could take
# away: before the first of them runs, the key is only in the memory of an agent, which no other program can read.
hold_key() {
    [ -e "$home/slurm-identity" ] || return 0
    ssh-agent -a "$home/slurm-agent" >"$home/slurm-agent.env" &&
        SSH_AUTH_SOCK=$home/slurm-agent ssh-add -q "$home/slurm-identity" </dev/null 2>"$scratch/said" &&
        rm "$home/slurm-identity"
}

prepare() {
    hold_key || fail_system "the private key (spec.executor.slurm.identitySecret): $(tail -n 1 "$scratch/said")"
    mkdir -p "$own" || fail_system "cannot make $own in the runner pod"
    # Where others may write to BUILDS, they can foresee the name: in a directory of theirs our script would be theirs.
    # shellcheck disable=SC2016  # for the shell over there
    on_cluster bash -c '
        umask 077
        command -v sbatch >/dev/null || { echo "sbatch is not there"; exit 3; }
        mkdir -p "${1%/*}"
        mkdir "$1" || [ ! -d "$1" ] || [ -O "$1" ] && [ ! -L "$1" ] || exit 4
        mkdir -p "$1/.slurm" && cat >"$1/.slurm/job.sh"' slurm "$directory" <"$home/slurm-job.sh" >"$scratch/said" 2>&1
    case $? in
    0) ;;
    255) fail_system "no connection to the cluster: $(tail -n 1 "$scratch/said")" ;;
    4) fail_system "$directory is there on the cluster, and is another account's or a link: who may write to $BUILDS?" ;;
    3) fail_system "the host has no Slurm: sbatch is not on the PATH of the account" ;;
    *) fail_system "cannot write to $BUILDS on the cluster (spec.executor.slurm.buildsDirectory): $(tail -n 1 "$scratch/said")" ;;
    esac
    say "$(on_cluster hostname 2>/dev/null), job directory $directory"
}

# Options of sbatch that we set or depend on, and their letters.
REFUSED="array chdir clusters error gid help input job-name open-mode output parsable quiet requeue test-only uid usage \
version wait workdir wrap"
REFUSED_LETTERS=aDeghiJMoQVW
# Options that are complete without another word, and letters that are not.
FLAGS="contiguous exclusive get-user-env hold ignore-pbs nice no-kill no-requeue overcommit oversubscribe propagate reboot \
share spread-job use-min-nodes verbose"
VALUE_LETTERS=AbBcCdFGLmnNpqStwx

# begins_any NAME NAMES: whether a name, or what it begins with, is among the names
begins_any() {
    local each
    for each in $2; do
        [[ $each != "$1"* ]] || return 0
    done
    return 1
}

# check_options WORD...: the job's own options of sbatch, from the variable SCHEDULER_PARAMETERS. They are options, so that
# no word can take the place of the script, and none of those that we depend on. sbatch takes any beginning of a long
# option's name that is no other's, and several letters in one word.
check_options() {
    local value_may_follow="" word name letters
    for word in "$@"; do
        case $word in
        : | - | --) name=refused ;;
        --*)
            name=${word#--} name=${name%%=*} value_may_follow=yes
            [[ $word != *=* ]] || value_may_follow=
            ! begins_any "$name" "$FLAGS" || value_may_follow=
            ! begins_any "$name" "$REFUSED" || name=refused
            ;;
        -*)
            name="" letters=${word#-} value_may_follow=
            while [ -n "$letters" ]; do
                case $letters in
                [$REFUSED_LETTERS]*) name=refused ;;
                [$VALUE_LETTERS]) value_may_follow=yes ;;
                [$VALUE_LETTERS]*) break ;; # the rest is the value
                esac
                letters=${letters:1}
            done
            ;;
        *)
            [ -n "$value_may_follow" ] || fail_build 1 "SCHEDULER_PARAMETERS: $word is no option of sbatch"
            name="" value_may_follow=
            ;;
        esac
        [ "$name" != refused ] ||
            fail_build 1 "SCHEDULER_PARAMETERS: $word can't be given: Bessemer sets it or depends on it"
    done
}

# split_words TEXT: its words into the array "words", as a shell splits and unquotes them; nothing is expanded
split_words() {
    local text=$1 word="" begun="" quote="" char next at
    words=()
    [ "${#text}" -le "$MOST_CHARACTERS" ] ||
        fail_build 1 "SCHEDULER_PARAMETERS: more than $MOST_CHARACTERS characters"
    for ((at = 0; at < ${#text}; at++)); do
        char=${text:at:1} next=${text:at+1:1}
        case $quote$char in
        "''" | '""') quote="" ;;
        "'"?*) word+=$char ;;
        '"'"\\")
            case $next in
            '"' | "\\" | '$' | '`') word+=$next at=$((at + 1)) ;;
            *) word+=$char ;;
            esac
            ;;
        '"'?*) word+=$char ;;
        "'" | '"') quote=$char begun=yes ;;
        "\\")
            [ -n "$next" ] || fail_build 1 "SCHEDULER_PARAMETERS: nothing follows the last backslash"
            at=$((at + 1))
            [ "$next" = $'\n' ] || { word+=$next begun=yes; } # else the line goes on
            ;;
        [[:space:]])
            [ -z "$begun" ] || words+=("$word")
            word="" begun=""
            ;;
        *) word+=$char begun=yes ;;
        esac
    done
    [ -z "$quote" ] || fail_build 1 "SCHEDULER_PARAMETERS: a quote ($quote) is not closed"
    [ -z "$begun" ] || words+=("$word")
}

write_options() {
    local words=()
    split_words "${CUSTOM_ENV_SCHEDULER_PARAMETERS:-}"
    check_options "${words[@]}"
    # Slurm counts whole minutes. Without a limit of the pool's or the job's, a job lasts as long as GitLab lets it.
    local seconds=${CUSTOM_ENV_CI_JOB_TIMEOUT:-} # which a job may set
    [[ $seconds =~ ^[0-9]{1,8}$ ]] || seconds=3600
    local minutes=$(((10#$seconds + 59) / 60))
    # Of an option that is given twice, sbatch takes the last.
    printf '%s\0' "--time=$minutes" "--comment=${CUSTOM_ENV_CI_JOB_URL:-GitLab job $job}" "${OPTIONS[@]}" \
        "${words[@]}" "--job-name=gitlab-$job" >"$own/options"
}

# run_in_slurm SCRIPT: what the job says is told as it comes, and the last word of its state decides.
run_in_slurm() {
    write_options
    { [[ $(head -c 2 "$1") == '#!' ]] || echo '#!/bin/bash'; cat "$1"; } >"$own/script"
    tar -C "$directory" -cf - . | on_cluster tar -C "$directory" -xf - 2>"$scratch/said" ||
        fail_system "cannot copy the job's directory to the cluster: $(tail -n 1 "$scratch/said")"
    : >"$scratch/ran"
    # Its own session, as a cancelled job's processes are all told to end: ssh has to tell us how the Slurm job ended.
    # It reads a pipe that is written to now and then; when that ends, the Slurm job is cancelled on the other side.
    rm -f "$scratch/beat" && mkfifo "$scratch/beat"
    setsid ssh -F "$home/slurm-ssh-config" cluster "bash $(printf %q "$own/job.sh") $(printf %q "$directory")" \
        <"$scratch/beat" 2>"$scratch/result" &
    local ssh=$! cancelled=""
    exec {beat}>"$scratch/beat"
    # Nothing else may hold the pipe open, nor our output.
    (
        exec 1>&"$beat" 2>/dev/null {beat}>&-
        while echo; do sleep "$BEAT_SECONDS" >/dev/null; done
    ) &
    local beater=$!
    trap 'cancelled=yes; exec {beat}>&-; kill "$beater" 2>/dev/null; trap "" TERM INT' TERM INT
    wait "$ssh"
    [ -z "$cancelled" ] || wait "$ssh"
    kill "$beater" 2>/dev/null
    tell_result "$(sed -n 's/^result //p' "$scratch/result" | tail -n 1)"
}

tell_result() { # STATE CODE SIGNAL REASON...
    local state code signal reason
    read -r state code signal reason <<<"$1"
    case $state in
    COMPLETED) return 0 ;;
    FAILED)
        [ "$code" = 0 ] && code=$((128 + signal))
        fail_build "$code" "the script ended with exit code $code"
        ;;
    TIMEOUT) fail_build 124 "TIMEOUT: the job reached its time limit in Slurm (--time)" ;;
    DEADLINE) fail_build 124 "DEADLINE: the job could not end by its deadline in Slurm (--deadline)" ;;
    OUT_OF_MEMORY) fail_build 137 "OUT_OF_MEMORY: the job used more memory than it had asked for (--mem)" ;;
    REFUSED) fail_build 1 "sbatch refuses the job: $reason" ;;
    UNSEEN) fail_system "the job's output is not to be seen on the host: is $BUILDS (spec.executor.slurm.buildsDirectory)" \
        "shared by all nodes? $reason" ;;
    NODE_FAIL | BOOT_FAIL | PREEMPTED | REVOKED) fail_system "$state: not the job's fault: ${reason:-Slurm took its nodes}" ;;
    CANCELLED) fail_system "CANCELLED: the job was cancelled in Slurm" ;;
    FORGOTTEN) fail_system "how the job ended is not known: Slurm has forgotten $reason" ;;
    UNAVAILABLE) fail_system "Slurm does not answer: $reason" ;;
    *) fail_system "the connection to the cluster was lost; the Slurm job is cancelled: $(tail -n 1 "$scratch/result")" ;;
    esac
}

fetch() {
    [ -e "$scratch/ran" ] || return 0 # nothing has run on the cluster since
    rm "$scratch/ran"
    find "$directory" -mindepth 1 -maxdepth 1 ! -name .slurm -exec rm -rf {} +
    on_cluster tar -C "$directory" --exclude=./.slurm -cf - . | tar -C "$directory" -xf - ||
        fail_system "cannot copy the job's directory from the cluster"
}

run() { # SCRIPT STAGE
    case $2 in
    step_* | build_script) run_in_slurm "$1" ;;
    after_script)
        # The allocation is over: on the host itself, as the same account.
        : >"$scratch/ran"
        # shellcheck disable=SC2016
        on_cluster bash -c 'cd "$1" && exec bash -s' slurm "$directory" <"$1" || exit "$BUILD_FAILURE_EXIT_CODE"
        ;;
    archive_cache* | upload_artifacts*)
        fetch
        bash "$1" || exit "$BUILD_FAILURE_EXIT_CODE"
        ;;
    *) bash "$1" || exit "$BUILD_FAILURE_EXIT_CODE" ;;
    esac
}

cleanup() {
    # shellcheck disable=SC2016
    on_cluster bash -c 'scancel --quiet --name="$2" --user="$(id -un)"; rm -rf "$1"' slurm "$directory" "gitlab-$job" ||
        say "the job's directory on the cluster is left: $directory"
    rm -rf "$directory"
}

"$@"
