"""The command line of the cluster program."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import api, argocd, build, containerfile, doubles, images, lifecycle, vault
from .errors import ClusterError
from .layout import Layout
from .reporter import Reporter

Handler = Callable[[argparse.Namespace, Layout, Reporter], int]


def main(argv: Sequence[str]) -> int:
    """Runs one command; every expected failure becomes a message and an exit code."""
    try:
        # What follows is kubectl's own; argparse would take options like -n for ours.
        if argv[:1] == ["kubectl"]:
            return api.pass_through(Layout.from_environment(), argv[1:], os.environ)
        arguments = _parser().parse_args(argv)
        handler: Handler = arguments.handler
        return handler(arguments, Layout.from_environment(), Reporter())
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; `up` and `down` clean up what was begun", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster", description="A real single-node Kubernetes cluster for tests and demos."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _add(commands, "build", _build, "build the programs into the cache")
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("--only", nargs="+", metavar="NAME", help="only these")
    choice.add_argument(
        "--for", dest="group", choices=sorted(build.GROUPS), default="test", help="what is needed"
    )
    command = _add(commands, "up", _up, "start the cluster; print how to use it")
    command.add_argument(
        "--keep", action="store_true", help="fail rather than replace one that stays broken"
    )
    command = _add(commands, "down", _down, "stop it and leave nothing behind")
    command.add_argument("--force", action="store_true", help="even if of another checkout")
    _add(commands, "status", _status, "say what runs; 0 if all works")
    command = _add(commands, "load-image", _load_image, "bring an image into the cluster")
    command.add_argument("archive", type=Path, help="an OCI or docker archive")
    command.add_argument("name", help="the image's name in the cluster")
    commands.add_parser("kubectl", help="run kubectl on the cluster", add_help=False)
    command = _add(commands, "image", _image, "build an image from a Containerfile")
    command.add_argument("--containerfile", type=Path, required=True)
    command.add_argument("--context", type=Path, required=True)
    command.add_argument("--name", required=True, help="registry/name:tag")
    command.add_argument("--architecture", help="such as arm64; this machine's if left out")
    command.add_argument("--output", type=Path, required=True, help="the OCI archive to write")
    _add(commands, "vault-image", _vault_image, "make Vault's image and load it")
    _add_vault(commands)
    group = commands.add_parser("argocd", help="an Argo CD in the cluster")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    _add(actions, "up", _argocd_up, "deploy Argo CD, with Redis and a git server")
    _add(actions, "down", _argocd_down, "remove Argo CD, its applications and its repositories")
    group = commands.add_parser("double", help="strict doubles of platforms in the cluster")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    command = _add(actions, "up", _double_up, "deploy a platform's double, a fresh one each time")
    command.add_argument("name", choices=doubles.NAMES)
    command = _add(actions, "fault", _double_fault, "change how a double is")
    command.add_argument("name", choices=doubles.NAMES)
    command.add_argument("mode", choices=doubles.MODES)
    command.add_argument("--seconds", type=int, help="needed by slow and rate-limited")
    command.add_argument("--path", help="only requests with this in their path")
    _add(actions, "down", _double_down, "remove all doubles")
    _add(commands, "env", _env, "print exports for a shell")
    _add(commands, "audit-log", _audit_log, "print the path of the audit log")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    handler: Handler,
    summary: str,
    add_help: bool = True,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, add_help=add_help
    )
    command.set_defaults(handler=handler)
    return command


def _add_vault(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    group = commands.add_parser("vault", help="a Vault server in the cluster")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    command = _add(actions, "up", _vault_up, "deploy, initialise and unseal Vault")
    command.add_argument(
        "--no-init", dest="init", action="store_false", help="leave it uninitialised or sealed"
    )
    _add(actions, "down", _vault_down, "remove Vault and its data")
    _add(actions, "init", _vault_init, "initialise Vault if that is still to do, and unseal it")
    for name, action, summary in (
        ("seal", vault.Vault.seal, "seal Vault"),
        ("unseal", vault.Vault.unseal, "unseal Vault"),
        ("stop", vault.Vault.stop, "end the server; its data stay"),
        ("start", vault.Vault.start, "start the server again; it is sealed then"),
    ):
        command = _add(actions, name, _vault_action, summary)
        command.set_defaults(action=action, title=summary)


def _build(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    tools = build.select(arguments.only) if arguments.only else build.GROUPS[arguments.group]
    build.ensure(layout, tools, reporter)
    for tool in tools:
        print(build.folder(layout, tool))
    return 0


def _up(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.up(layout, reporter, arguments.keep)
    print(f"export KUBECONFIG={shlex.quote(str(layout.kubeconfig))}")
    return 0


def _down(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.down(layout, reporter, arguments.force)
    return 0


def _status(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    return 0 if lifecycle.status(layout, reporter) else 1


def _load_image(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    with reporter.step(f"loading {arguments.archive}"):
        print(images.load_archive(layout, arguments.archive, arguments.name))
    return 0


def _image(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    containerfile.build(
        layout,
        reporter,
        containerfile.Request(
            arguments.containerfile,
            arguments.context,
            arguments.name,
            arguments.output,
            arguments.architecture,
        ),
    )
    return 0


def _vault_image(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    vault.load_image(layout, reporter)
    print(vault.IMAGE_NAME)
    return 0


def _vault_up(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    server = vault.Vault(layout=layout)
    server.up(reporter)
    if arguments.init:
        return _vault_init(arguments, layout, reporter)
    print(f"authority: {server.ca_file}")
    return 0


def _vault_down(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    with reporter.step("removing Vault", expected=10):
        vault.Vault(layout=layout).down()
    return 0


def _vault_init(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    server = vault.Vault(layout=layout)
    with reporter.step("initialising and unsealing Vault", expected=5):
        server.init()
    print(f"address:    {server.url}")
    print(f"on host:    {server.service_address()}:{vault.PORT}")
    print(f"authority:  {server.ca_file}")
    print(f"root token: {server.root_token_file}")
    print(f"unseal key: {server.unseal_key_file}")
    return 0


def _vault_action(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    action: Callable[[vault.Vault], None] = arguments.action
    with reporter.step(arguments.title):
        action(vault.Vault(layout=layout))
    return 0


def _argocd_up(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    argocd.up(layout, reporter)
    print(f"address:    https://{argocd.HOST_NAME}")
    print(f"on host:    {argocd.service_address(layout)}:{argocd.PORT}")
    print(f"authority:  {argocd.ca_file(layout)}")
    return 0


def _argocd_down(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    with reporter.step("removing Argo CD", expected=20):
        argocd.down(layout)
    return 0


def _double_up(arguments: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    doubles.up(arguments.name, layout, reporter)
    print(f"address:    https://{doubles.host(arguments.name)}")
    print(f"authority:  {doubles.ca_file(layout)}")
    return 0


def _double_fault(arguments: argparse.Namespace, layout: Layout, _: Reporter) -> int:
    lifecycle.require_running(layout)
    doubles.fault(arguments.name, arguments.mode, arguments.seconds, arguments.path, layout)
    return 0


def _double_down(_: argparse.Namespace, layout: Layout, reporter: Reporter) -> int:
    lifecycle.require_running(layout)
    with reporter.step("removing the doubles", expected=10):
        doubles.down(layout)
    return 0


def _env(_: argparse.Namespace, layout: Layout, __: Reporter) -> int:
    folders = [
        str(build.folder(layout, tool))
        for tool in build.ALL_TOOLS
        if build.folder(layout, tool).is_dir()
    ]
    print(f"export KUBECONFIG={shlex.quote(str(layout.kubeconfig))}")
    print(f'export PATH={shlex.quote(":".join(folders))}:"$PATH"')
    return 0


def _audit_log(_: argparse.Namespace, layout: Layout, __: Reporter) -> int:
    print(layout.audit_log)
    return 0
