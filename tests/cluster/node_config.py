"""The node's configuration files and command lines: kubelet, kube-proxy, CNI."""

import json

import yaml

from tests.cluster import binaries, cgroups
from tests.cluster.apiserver import Command
from tests.cluster.layout import NAME, Layout
from tests.cluster.network import DNS, NODE, NODE_PODS, PODS


def kubelet(layout: Layout) -> Command:
    pki = layout.plane.pki
    file = layout.directory / "kubelet.yaml"
    file.write_text(yaml.safe_dump(_kubelet_config(layout), sort_keys=False))
    return [
        binaries.path("kubelet"),
        f"--kubeconfig={pki.directory / 'kubelet.kubeconfig'}",
        f"--config={file}",
        f"--hostname-override={NAME}",
        f"--node-ip={NODE}",
        f"--root-dir={layout.directory / 'kubelet'}",
    ]


def _kubelet_config(layout: Layout) -> dict[str, object]:
    pki = layout.plane.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **({} if cgroups.is_v2() else {"failCgroupV1": False}),
        "cgroupDriver": "cgroupfs",  # there need be no systemd
        "cgroupRoot": f"/{layout.label}",
        "address": NODE,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{layout.containerd.socket}",
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "tlsCertFile": str(pki.crt("kubelet")),
        "tlsPrivateKeyFile": str(pki.key("kubelet")),
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        # The machine's disk is shared with everything else on it: only a full one is the node's business.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "podLogsDir": str(layout.directory / "pods-log"),
        "readOnlyPort": 0,
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "5s",
        "volumePluginDir": str(layout.directory / "volume-plugins"),
    }


def kube_proxy(layout: Layout) -> Command:
    return [
        binaries.path("kube-proxy"),
        f"--kubeconfig={layout.plane.pki.directory / 'kube-proxy.kubeconfig'}",
        f"--hostname-override={NAME}",
        "--proxy-mode=nftables",
        f"--cluster-cidr={PODS}",
        # These would be sysctls, which are read-only in a network namespace.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def api_flags(layout: Layout) -> list[str]:
    """What an API server with a node and with aggregated APIs needs on top."""
    pki = layout.plane.pki
    return [
        f"--kubelet-client-certificate={pki.crt('admin')}",
        f"--kubelet-client-key={pki.key('admin')}",
        f"--kubelet-certificate-authority={pki.ca}",
        "--kubelet-preferred-address-types=InternalIP",  # else logs and exec look the node up in DNS
        f"--requestheader-client-ca-file={pki.ca}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.crt('front-proxy')}",
        f"--proxy-client-key-file={pki.key('front-proxy')}",
        "--enable-aggregator-routing",
    ]


def cni(layout: Layout) -> str:
    """One bridge. Without masquerading pods have no way out of the machine: the air-gapped case for free."""
    ipam = {
        "type": "host-local",
        "dataDir": str(layout.directory / "ipam"),
        "ranges": [[{"subnet": NODE_PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": layout.label, "plugins": [bridge, portmap]})
