"""A real single-node Kubernetes cluster for the end-to-end tests and the demo.

It needs no systemd, no container engine and no image registry: every component
is built from pinned Go modules, and everything that a cluster leaves on a
machine is either inside one process and mount namespace or written down, so
that it can be taken away again.
"""
