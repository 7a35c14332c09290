#!/bin/bash
# Process 1 of one local cluster: it furnishes the new namespaces, starts the components, and reaps what dies.
# It runs inside fresh network, mount and process namespaces; when it is killed, the kernel ends and removes all of it.
# Its variables (build_environment in config.py) come by the environment.
set -eu
D=$CLUSTER_DIRECTORY

# Mounts: what the components write to fixed paths goes to this cluster's own directory, or to memory.
mount --make-rshared /
mount -t tmpfs run /run
mkdir -p /run/lock
mount -t tmpfs kubelet /var/lib/kubelet # the kubelet's device plugin socket; --root-dir does not move it
mount --bind "$D/varlog" /var/log
mount --bind "$D/varlibcni" /var/lib/cni

# Cgroups: one of our own under each hierarchy, so that clusters do not share any and removal is one folder.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2
    mkdir -p "/sys/fs/cgroup/$CGROUP"
    for controller in cpu cpuset io memory pids; do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || echo "no cgroup controller $controller"
    done
else
    for tasks in /sys/fs/cgroup/*/tasks; do
        hierarchy=${tasks%/tasks}
        mkdir -p "$hierarchy/$CGROUP"
        [ -e "$hierarchy/cpuset.cpus" ] || continue
        for file in cpuset.cpus cpuset.mems; do # a new cpuset is empty, and nothing can run in an empty one
            cat "$hierarchy/$file" >"$hierarchy/$CGROUP/$file"
        done
    done
fi

# Network: the process that started this script provides one end of a veth pair, named eth0.
ip link set lo up
for ((tries = 0; tries < 500; tries++)); do
    ip link show eth0 >/dev/null 2>&1 && break
    sleep 0.02
done
ip addr add "$NODE_ADDRESS/$LINK_PREFIX" dev eth0
ip link set eth0 up
ip route add default via "$HOST_ADDRESS"
echo 1 >/proc/sys/net/ipv4/ip_forward

start() { # NAME COMMAND...: in the background; its end is recorded for the process that waits
    local name=$1
    shift
    (
        code=0
        "$@" >"$D/log/$name.log" 2>&1 </dev/null || code=$?
        echo "$name $code" >>"$D/ended"
    ) &
}

start etcd etcd --data-dir "$D/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
start kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --secure-port 6443 --bind-address 0.0.0.0 --advertise-address "$NODE_ADDRESS" \
    --tls-cert-file "$D/pki/server.crt" --tls-private-key-file "$D/pki/server.key" --client-ca-file "$D/pki/ca.crt" \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$D/pki/sa.pub" --service-account-signing-key-file "$D/pki/sa.key" \
    --service-cluster-ip-range "$SERVICES" --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction --allow-privileged \
    --kubelet-client-certificate "$D/pki/admin.crt" --kubelet-client-key "$D/pki/admin.key" \
    --kubelet-preferred-address-types InternalIP
start containerd containerd -c "$D/containerd.toml"
start coredns coredns -conf "$D/Corefile"

# The sandbox image has to be there before the kubelet starts its first pod.
(
    for ((tries = 0; tries < 300; tries++)); do
        ctr -n k8s.io version >/dev/null 2>&1 && break
        sleep 0.1
    done
    ctr -n k8s.io images import "$D/sandbox.tar"
) >"$D/log/sandbox-image.log" 2>&1 &

# Controller manager and scheduler end when there is no API server yet, so they wait for it.
for ((tries = 0; tries < 300; tries++)); do
    kubectl --kubeconfig "$D/admin.conf" get --raw /readyz >/dev/null 2>&1 && break
    sleep 0.1
done
wait $! || echo "the sandbox image could not be imported"
# At the default 20 requests a second, the service accounts of new namespaces come seconds late.
start kube-controller-manager kube-controller-manager --kubeconfig "$D/admin.conf" \
    --service-account-private-key-file "$D/pki/sa.key" --root-ca-file "$D/pki/ca.crt" \
    --use-service-account-credentials --leader-elect=false --bind-address 127.0.0.1 \
    --cluster-cidr "$PODS" --allocate-node-cidrs --kube-api-qps 500 --kube-api-burst 1000
start kube-scheduler kube-scheduler --kubeconfig "$D/admin.conf" --leader-elect=false --bind-address 127.0.0.1 \
    --kube-api-qps 2000 --kube-api-burst 4000
start kubelet kubelet --config "$D/kubelet.yaml" --kubeconfig "$D/kubelet.conf" --root-dir "$D/kubelet" \
    --cert-dir "$D/kubelet/pki" --hostname-override "$NODE_NAME" --node-ip "$NODE_ADDRESS"
start kube-proxy kube-proxy --config "$D/kube-proxy.yaml"

# Process 1 never ends by itself, and reaps the orphans of containers.
while :; do
    wait -n || sleep 0.5
done
