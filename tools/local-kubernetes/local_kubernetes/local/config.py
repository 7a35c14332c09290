"""The configuration files of a local cluster's components, from its network and its directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from local_kubernetes.local.network import ClusterNetwork
from local_kubernetes.local.pki import NODE_NAME
from local_kubernetes.local.sandbox_image import SANDBOX_IMAGE

CNI_PLUGINS = Path("/usr/lib/cni")
"""Where Debian's containernetworking-plugins lie."""

CONTAINERD = Template(
    """\
version = 3
root = "$directory/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd/containerd.sock"
# opt and NRI would write to /opt and /run of the machine.
[plugins.'io.containerd.internal.v1.opt']
path = "$directory/run/opt"
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.cri.v1.runtime']
# A machine in a sandbox may lack CAP_SYS_RESOURCE, which lowering an OOM score needs.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["$cni_plugins"]
conf_dir = "$directory/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "$sandbox_image"
"""
)

COREFILE = Template(
    """\
cluster.local:53 in-addr.arpa:53 {
    bind $node_address
    errors
    ready $node_address:8181
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $directory/admin.conf $context
        pods insecure
        ttl 5
    }
    cache 5
}
# Nothing outside is reachable: say so at once instead of letting resolvers try again.
.:53 {
    bind $node_address
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""
)


def build_containerd_config(directory: Path) -> str:
    """Write containerd's configuration (docs/cri/config.md of containerd 2)."""
    return CONTAINERD.substitute(directory=directory, cni_plugins=CNI_PLUGINS, sandbox_image=SANDBOX_IMAGE)


def build_corefile(directory: Path, network: ClusterNetwork, context: str) -> str:
    """Write CoreDNS' configuration."""
    return COREFILE.substitute(directory=directory, node_address=network.node_address, context=context)


def build_cni_config(network: ClusterNetwork) -> dict[str, Any]:
    """Write the pod network: a bridge that is the pods' gateway, with hostPort support."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": str(network.node_pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "kc0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "kc", "plugins": [bridge, portmap]}


def build_kubelet_config(directory: Path, network: ClusterNetwork) -> dict[str, Any]:
    """Write the kubelet's configuration: own cgroup, no eviction before the disk is nearly full, no image deletion."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{network.cgroup}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{directory}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [str(network.node_address)],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{directory}/resolv.conf",
        "volumePluginDir": f"{directory}/kubelet/volplugins",
        "makeIPTablesUtilChains": False,
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
    }


def build_proxy_config(directory: Path, network: ClusterNetwork) -> dict[str, Any]:
    """Write kube-proxy's configuration; zeros keep it from changing the machine's conntrack limits."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": "0.0.0.0",  # noqa: S104 - within the cluster's own network namespace
        "healthzBindAddress": f"{network.node_address}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": str(network.pods),
        "clientConnection": {"kubeconfig": f"{directory}/admin.conf"},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def build_files(directory: Path, network: ClusterNetwork, context: str) -> Mapping[str, str]:
    """Return every configuration file: its path under the cluster's directory, and its content."""
    return {
        "containerd.toml": build_containerd_config(directory),
        "Corefile": build_corefile(directory, network, context),
        "cni/10-bridge.conflist": json.dumps(build_cni_config(network)),
        "kubelet.yaml": yaml.safe_dump(build_kubelet_config(directory, network)),
        "kube-proxy.yaml": yaml.safe_dump(build_proxy_config(directory, network)),
        "resolv.conf": f"nameserver {network.node_address}\n",
    }


def build_environment(directory: Path, network: ClusterNetwork, program_folders: list[Path]) -> dict[str, str]:
    """Return the variables that `init.sh` reads."""
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "PATH": ":".join([*map(str, program_folders), system]),
        "HOME": str(directory),
        "CLUSTER_DIRECTORY": str(directory),
        "CGROUP": network.cgroup,
        "HOST_ADDRESS": str(network.host_address),
        "NODE_ADDRESS": str(network.node_address),
        "LINK_PREFIX": str(network.link_network.prefixlen),
        "SERVICES": str(network.services),
        "PODS": str(network.pods),
        "NODE_NAME": NODE_NAME,
    }
