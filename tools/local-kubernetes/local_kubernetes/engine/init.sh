#!/bin/bash
# Process 1 of one container engine's namespaces (network, mount, process, cgroup); when it is killed, the kernel ends and
# removes all of it. Called once outside the cgroup namespace and once in it.
# Environment: ENGINE (docker or podman), ENGINE_DIRECTORY, ENGINE_PACKAGES (folder of unpacked packages), ENGINE_RUNC
# (the program that runs containers), ENGINE_CACHE (folder where kind's files are kept), CGROUP.
set -eu
D=$ENGINE_DIRECTORY

if [ "${1-}" != inside ]; then
    # Cgroups: one of our own under each hierarchy, which becomes the root of what is seen from here on.
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2
        hierarchies=/sys/fs/cgroup
    else
        hierarchies=$(dirname /sys/fs/cgroup/*/cgroup.procs)
    fi
    for hierarchy in $hierarchies; do
        mkdir -p "$hierarchy/$CGROUP"
        if [ -e "$hierarchy/cpuset.cpus" ] && [ -e "$hierarchy/tasks" ]; then
            for file in cpuset.cpus cpuset.mems; do # a new cpuset is empty, and nothing can run in an empty one
                cat "$hierarchy/$file" >"$hierarchy/$CGROUP/$file"
            done
        fi
        echo 0 >"$hierarchy/$CGROUP/cgroup.procs"
    done
    exec unshare --cgroup "$0" inside
fi

mount -t tmpfs run /run
mkdir -p /run/lock /run/hierarchies
touch /run/bessemer-engine # see ENGINE_MARK in local/registry.py

# The packages lie over the machine's folders, and what the engine writes there goes to its own directory.
for folder in usr etc opt; do
    mkdir -p "$D/$folder/upper" "$D/$folder/work"
    lower=/$folder
    [ ! -d "$ENGINE_PACKAGES/$folder" ] || lower=$ENGINE_PACKAGES/$folder:$lower
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$D/$folder/upper,workdir=$D/$folder/work" "/$folder"
done
mkdir -p /usr/lib/modules # kind mounts it into its nodes, and Podman wants it to be there
mkdir -p "$D/kind" "$ENGINE_CACHE"
mount --bind "$D/kind" "$ENGINE_CACHE"

# The hierarchies again, as seen from our cgroup.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    umount /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir /sys/fs/cgroup/init # a cgroup with processes of its own passes no controllers on
    echo 0 >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
else
    while IFS=: read -r _ controllers _; do
        name=${controllers#name=}
        folder=/run/hierarchies/${name:-unified}
        mkdir -p "$folder"
        if [ "$controllers" ]; then
            mount -t cgroup -o "$controllers" cgroup "$folder"
        else
            mount -t cgroup2 cgroup2 "$folder"
        fi
    done </proc/self/cgroup
    mount --rbind /run/hierarchies /sys/fs/cgroup
fi

ip link set lo up
if [ "$ENGINE" = docker ]; then
    dockerd --data-root "$D/docker" --add-runtime "bounded=$ENGINE_RUNC" --default-runtime bounded >"$D/log/dockerd.log" 2>&1 &
fi
touch "$D/ready"
# Process 1 never ends by itself, and reaps the orphans of containers.
while :; do
    wait -n || sleep 0.5
done
