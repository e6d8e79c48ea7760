"""The demo; e2e/demo/run says what it needs."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import shorten
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "e2e"), str(ROOT / "e2e" / "cluster"), str(ROOT / "e2e" / "demo")]

import yaml  # noqa: E402
from platforms import PLATFORMS, Shown, in_given_cluster  # noqa: E402
from testcluster import doubles  # noqa: E402
from testcluster.errors import ClusterError  # noqa: E402

from support import kube  # noqa: E402
from support.agent import Agent, Endpoint  # noqa: E402
from support.connector import Connector  # noqa: E402
from support.install import Image, wait_for_operator  # noqa: E402
from support.machine import CLUSTER, ProgramError, cluster_environment  # noqa: E402

NAMESPACE = "mcp-demo"
OWN_KUBECONFIG = "/run/mcp-connectors/cluster/kubeconfig"
REPOSITORY = "mcp-connectors.local/mcp-connectors"
ARCHIVE = ROOT / "build" / "mcp-connectors-dev.tar"
OVERLAY = ROOT / "build" / "demo"
BUILD_LOG = ROOT / "build" / "logs" / "demo-image.log"
READY_SECONDS = 180
HEARTBEAT_SECONDS = 15
# When nothing is compiled yet, on two cores that build Kubernetes meanwhile.
IMAGE_SECONDS = 600
BEGUN = time.monotonic()


def main() -> None:
    """Runs the demo from beginning to end."""
    is_given = os.environ.get("KUBECONFIG") not in (None, "", OWN_KUBECONFIG)
    wanted = os.environ.get("PLATFORM") or ("vault" if is_given else "argocd")
    if wanted not in PLATFORMS:
        refuse(f"there is no demo of PLATFORM={wanted}; there is one of {', '.join(PLATFORMS)}")
    if is_given:
        image, shown = given_cluster(wanted)
    else:
        shown = PLATFORMS[wanted]
        image = own_cluster(shown)

    step("the operator")
    write_overlay(image)
    say("$ kubectl apply --server-side -k config/default      (with the image that was built)")
    kube.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(OVERLAY))
    wait_for_operator()

    step(shown.brings)
    kube.create_namespace(NAMESPACE)
    shown.prepare(NAMESPACE)

    step(f"a connector: a Secret with its credentials, a ConfigMap with the CA of {shown.title}, and the sample")
    kube.apply(NAMESPACE, *shown.objects())
    changed = "" if shown.elsewhere is None else f"      (with the address and the CA of this {shown.title})"
    say(f"$ kubectl apply -n {NAMESPACE} -f config/samples/{shown.name}.yaml{changed}")
    kube.apply(NAMESPACE, *shown.manifests())
    connector = Connector(NAMESPACE, shown.name)
    watch_until_ready(connector)
    say(f"$ kubectl get mcpconnectors -n {NAMESPACE}")
    print(kube.kubectl("get", "mcpconnectors", "--namespace", NAMESPACE))

    step("an agent of the same namespace, with its ServiceAccount's token")
    with forwarded(connector) if is_given else contextlib.nullcontext(Endpoint.of(connector)) as endpoint:
        call_tools(connector, endpoint, shown)
    say_goodbye(shown, is_given)


def own_cluster(shown: Shown) -> Image:
    """Starts a cluster on this machine, and builds the image for it."""
    step("a Kubernetes cluster on this machine, and beside it the image of the operator and of the connectors")
    # Less to compile than what the stories' image shares with the tests.
    os.environ["PROGRAMS"] = "product" if shown.name in doubles.NAMES else "image"
    with building_image() as wait_for_image:
        show(CLUSTER, "build", "--for", shown.programs)
        show(CLUSTER, "up")
        os.environ.update(cluster_environment())
        wait_for_image()
    tag = "demo-" + hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:12]
    show(CLUSTER, "load-image", ARCHIVE, f"{REPOSITORY}:{tag}")
    return Image(REPOSITORY, tag)


@contextlib.contextmanager
def building_image() -> Iterator[Callable[[], None]]:
    """Compiles the operator and builds its image beside what else is done. What it gives waits for the end of that."""
    BUILD_LOG.parent.mkdir(parents=True, exist_ok=True)
    words = (ROOT / "e2e" / "image" / "build", "--profile", "dev", "--output", ARCHIVE)
    begun = time.monotonic()
    with BUILD_LOG.open("w") as log:
        # A group of its own, so that an end of the demo is the end of the compilers, too.
        build = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, process_group=0)

    def wait() -> None:
        while True:
            try:
                status = build.wait(HEARTBEAT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                say(f"the image: {time.monotonic() - begun:.0f} s of about {IMAGE_SECONDS} s (its log is {BUILD_LOG})")
        if status != 0:
            sys.exit(f"error: the image was not built; the end of {BUILD_LOG}:\n{BUILD_LOG.read_text()[-4000:]}")

    try:
        yield wait
    finally:
        if build.poll() is None:
            os.killpg(build.pid, signal.SIGTERM)


def given_cluster(wanted: str) -> tuple[Image, Shown]:
    """Looks at the cluster that KUBECONFIG names, which has to know the image already, or to pull it."""
    if wanted != "vault":
        refuse(f"in a cluster that KUBECONFIG names, the demo shows PLATFORM=vault only, not {wanted}")
    name = os.environ.get("IMAGE", "")
    if ":" not in name.rpartition("/")[2]:
        refuse(
            "KUBECONFIG names a cluster: IMAGE must name an image with a tag that it can pull, or has already, such as\n"
            "  make image && kind load image-archive build/mcp-connectors-release.tar\n"
            f"  IMAGE={REPOSITORY}:VERSION make demo\n"
            "Without KUBECONFIG, the demo starts a cluster of its own on this machine."
        )
    step(f"the cluster of KUBECONFIG={os.environ['KUBECONFIG']}")
    say("context: " + kube.kubectl("config", "current-context").strip())
    kube.kubectl("version")
    return Image.named(name), in_given_cluster(NAMESPACE)


@contextlib.contextmanager
def forwarded(connector: Connector) -> Iterator[Endpoint]:
    """The way to a Service that this machine doesn't reach by itself."""
    words = ("kubectl", "--namespace", connector.namespace, "port-forward", f"service/{connector.owned}", ":8080")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            told = re.search(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())
            if told is None:
                raise ProgramError(words, forwarding.wait(), "", "it did not say where it listens")
            yield Endpoint(connector.status()["url"], "127.0.0.1", int(told[1]))
        finally:
            forwarding.terminate()


def refuse(why: str) -> NoReturn:
    """Ends a demo that can't begin."""
    print(f"error: {why}", file=sys.stderr)
    sys.exit(2)


def step(what: str) -> None:
    """Says what comes now."""
    print(f"\n[{time.monotonic() - BEGUN:5.0f} s] {what}", flush=True)


def say(what: str) -> None:
    """Says something about the step."""
    print(f"  {what}", flush=True)


def show(*words: str | Path) -> None:
    """Runs a program whose progress is to be seen."""
    status = subprocess.run([str(word) for word in words], cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        sys.exit(status)


def write_overlay(image: Image) -> None:
    """The kustomize manifests with another image, as every installation needs them."""
    container = "spec.template.spec.containers.[name=operator]"
    operator = {"kind": "Deployment", "name": "mcp-connectors"}
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../config/default"],
        "images": [{"name": "mcp-connectors", "newName": image.repository, "newTag": image.tag}],
        "replacements": [
            {
                "source": operator | {"fieldPath": f"{container}.image"},
                "targets": [
                    {
                        "select": operator,
                        "fieldPaths": [f"{container}.env.[name=MCP_CONNECTORS_CONNECTOR_IMAGE].value"],
                    }
                ],
            }
        ],
    }
    OVERLAY.mkdir(parents=True, exist_ok=True)
    (OVERLAY / "kustomization.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))


def watch_until_ready(connector: Connector) -> None:
    """Shows every condition as it changes."""
    shown: dict[str, tuple[str, str]] = {}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        conditions = connector.conditions()
        for type_, condition in conditions.items():
            now = (condition["status"], condition["reason"])
            if shown.get(type_) != now:
                shown[type_] = now
                mark = {"True": "+", "False": "-"}.get(now[0], " ")
                message = shorten(condition["message"], 90, placeholder=" ...")
                say(f"{mark} {type_:<20} {now[0]:<8} {now[1]:<22} {message}")
        if shown.get("Ready", ("", ""))[0] == "True" and "Reconciling" not in conditions:
            return
        if time.monotonic() > deadline:
            print(connector.explain())
            sys.exit(f"error: the connector was not ready within {READY_SECONDS} s")
        time.sleep(0.5)


def call_tools(connector: Connector, endpoint: Endpoint, shown: Shown) -> None:
    """Lists and calls tools through the Service."""
    url = connector.status()["url"]
    token = connector.token()
    say(f"$ kubectl create token default -n {NAMESPACE} --audience {url}")
    agent = Agent(endpoint, token)
    tools = agent.tools()
    say(f"tools/list at {url}: {len(tools)} tools, {', '.join(tools[:4])}, ...")
    for tool, arguments in shown.calls:
        print(f"\n  {tool} {json.dumps(arguments)}")
        print(f"    -> {json.dumps(agent.answer(tool, **arguments))}")
    tool, arguments = shown.refused
    result = agent.call(tool, **arguments)
    print(f"\n  {tool} {json.dumps(arguments)}")
    print("    -> " + " ".join(str(getattr(block, "text", "")) for block in result.content))


def say_goodbye(shown: Shown, is_given: bool) -> None:
    """Says what to try next."""
    own = '  eval "$(e2e/cluster/cluster env)"                     # kubectl, helm and vault for this cluster\n'
    own_end = "make demo runs again in half a minute; make cluster-down takes everything away."
    given_end = f"To take it away: kubectl delete namespace {NAMESPACE}; kubectl delete --kustomize build/demo"
    print(f"""
[{time.monotonic() - BEGUN:5.0f} s] done. To look around:

{"" if is_given else own}\
  kubectl describe mcpconnector {shown.name} -n {NAMESPACE}     # everything that is known of it
  kubectl get events -n {NAMESPACE}
  kubectl logs -n {NAMESPACE} deployment/mcp-{shown.name}       # what was called, by whom
  kubectl explain mcpconnector.spec

{shown.afterwards.format(namespace=NAMESPACE)}

{given_end if is_given else own_end}""")


if __name__ == "__main__":
    try:
        main()
    except (ProgramError, ClusterError, kube.RefusedError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
