"""Ways from pods to what a story runs on the node."""

from testcluster.settings import NODE_ADDRESS

from . import kube


def lead(namespace: str, name: str, port: int, node_port: int) -> None:
    """Makes, or changes, a Service whose port leads to a port of the node's address."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "main", "port": port, "targetPort": node_port}]},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "main", "port": node_port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
    }
    kube.apply(namespace, service, slice_)
