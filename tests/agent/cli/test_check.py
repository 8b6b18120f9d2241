"""Folders in; lines and the exit code out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.cli.main import main
from tests.agent.objects import GATEWAY, endpoint_slice, route, service, text

QUICKSTART = Path(__file__).resolve().parents[3] / "examples" / "quickstart"


def check(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["check", str(folder), *options], catch_exceptions=False)


EMPTY_POLICY = """
apiVersion: penstock.dev/v1alpha1
kind: FlowPolicy
metadata: {name: empty}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: TCPRoute, name: web}]}
"""


@pytest.mark.parametrize(
    ("manifests", "lines"),
    [
        ((GATEWAY, route(a=1), service("a"), endpoint_slice("a", "10.0.0.1"), endpoint_slice("a", "fd00::1")), []),
        ((), ["warning: nothing is served: there is no Gateway of ours with an address and a valid listener"]),
        (
            (GATEWAY,),
            ["warning: Gateway default/edge listener web: no route is attached, every connection is rejected"],
        ),
        (
            (GATEWAY, route(a=1)),
            ["warning: TCPRoute default/web parent edge: ResolvedRefs=False (BackendNotFound): "],
        ),
        (
            (GATEWAY, route(a=1, b=0), service("a"), service("b")),
            [
                "warning: Gateway default/edge listener web: backend default/a:80 has no ready endpoint, "
                "its share of connections is rejected"
            ],
        ),
        (
            (
                GATEWAY,
                route(a=1),
                service("a"),
                endpoint_slice("a", "10.0.0.1", "127.0.0.1"),
                endpoint_slice("a", "fd00::1"),
            ),
            ["warning: default/a:80/TCP: endpoint 127.0.0.1 port 8080 is not served: "],
        ),
        (
            (
                GATEWAY.replace("TCP}", "TCP}, {name: no, port: 81, protocol: SCTP}"),
                route(a=1),
                service("a"),
                endpoint_slice("a", "10.0.0.1"),
                endpoint_slice("a", "fd00::1"),
            ),
            ["warning: Gateway default/edge listener no: Accepted=False (UnsupportedProtocol): "],
        ),
        (
            (
                GATEWAY.replace("TCP}", "TCP, hostnam: a}"),
                route(a=1),
                service("a"),
                endpoint_slice("a", "10.0.0.1"),
                endpoint_slice("a", "fd00::1"),
            ),
            ["warning: {folder}/all.yaml:13: Gateway edge: spec.listeners[0].hostnam: is no field of this kind"],
        ),
        (
            (
                GATEWAY,
                route(a=1).replace("TCPRoute", "TCPRuote"),
                service("a"),
                endpoint_slice("a", "10.0.0.1"),
                endpoint_slice("a", "fd00::1"),
            ),
            [
                "warning: {folder}/all.yaml:16: TCPRuote web: kind: ignored, Penstock does not read "
                "gateway.networking.k8s.io/v1 TCPRuote; is TCPRoute meant?",
                "warning: Gateway default/edge listener web: no route is attached",
            ],
        ),
        (
            (
                GATEWAY,
                route(a=1),
                service("a"),
                endpoint_slice("a", "10.0.0.1"),
                endpoint_slice("a", "fd00::1"),
                EMPTY_POLICY,
            ),
            [
                "warning: FlowPolicy default/empty target TCPRoute web: Effective=False (NotEffective): "
                "without effect: spec has no part but targetRefs"
            ],
        ),
        (
            (
                GATEWAY,
                route(a=1),
                service("a"),
                endpoint_slice("a", "10.0.0.1"),
                endpoint_slice("a", "fd00::1"),
                EMPTY_POLICY.replace("}]}", "}], sources: {allow: []}, affinity: {type: ClientAddress}}"),
            ),
            [
                "warning: {folder}/all.yaml:47: FlowPolicy empty: spec.sources.allow: is empty, which lets every",
            ],
        ),
        (
            (GATEWAY, route(a=1), service("a"), endpoint_slice("a", "10.0.0.1")),
            ["warning: Gateway default/edge listener web: backend default/a:80 has no ready IPv6 endpoint"],
        ),
        (
            (GATEWAY, route(a=0), service("a")),
            ["warning: Gateway default/edge listener web: every backendRef of TCPRoute default/web has weight 0"],
        ),
        (
            (GATEWAY, route(a=1).replace("edge", "egde"), service("a")),
            [
                "warning: TCPRoute default/web: its parent, Gateway default/egde, is not in this folder",
                "warning: Gateway default/edge listener web: no route is attached",
            ],
        ),
        (
            (GATEWAY.replace("gatewayClassName: penstock", "gatewayClassName: penstok"),),
            [
                "warning: Gateway default/edge: its GatewayClass penstok is not in this folder",
                "warning: nothing is served",
            ],
        ),
        (
            (GATEWAY.replace("penstock.dev/gateway", "penstock.dev/gate"),),
            [
                "warning: GatewayClass penstock: its controllerName penstock.dev/gate is not ours",
                "warning: nothing is served",
            ],
        ),
    ],
    ids=[
        "good",
        "nothing",
        "no route",
        "no Service",
        "no endpoint",
        "refused endpoint",
        "listener",
        "misspelt",
        "misspelt kind",
        "a policy without effect",
        "a policy that lets all in",
        "one family",
        "no weight",
        "no parent",
        "no class",
        "not our class",
    ],
)
def test_warnings(tmp_path: Path, manifests: tuple[str, ...], lines: list[str]) -> None:
    (tmp_path / "all.yaml").write_text(text(*manifests) + "# that is all\n")
    result = check(tmp_path)
    said = [x for x in result.stderr.splitlines() if "Programmed" not in x]
    assert [line.startswith(start.format(folder=tmp_path)) for line, start in zip(said, lines, strict=True)] == [
        True
    ] * len(lines), said
    assert result.exit_code == 0
    assert check(tmp_path, "--strict").exit_code == (1 if lines else 0)


def test_errors_name_file_line_object_and_field(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text(GATEWAY, route(a=-1), service("a")))
    (tmp_path / "b.yaml").write_text("kind: [\n")
    (tmp_path / "c.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    result = check(tmp_path)
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"error: {tmp_path}/a.yaml:")
    assert "TCPRoute web: spec.rules[0].backendRefs[0].weight: -1 is not a whole number from 0 to 1000000" in lines[0]
    assert lines[1].startswith(f"error: {tmp_path}/b.yaml:2: while parsing")
    assert lines[-1].startswith(f"note: {tmp_path}/c.yaml:1: Deployment")
    assert result.exit_code == 1
    assert result.stdout == "0 objects, 0 listeners, errors: 2, warnings: 1\n"


def test_what_stands_in_a_file_with_errors_is_not_said_not_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "gw.yaml").write_text(text(GATEWAY, service("a")).replace("port: 80", "port: 0"))
    (tmp_path / "route.yaml").write_text(text(route(a=1)))
    lines = check(tmp_path).stderr.splitlines()
    (note,) = (x for x in lines if x.startswith("note: "))
    left_out = "left out as a whole because of its errors, so that to the others these are missing: "
    assert note.startswith(f"note: {tmp_path}/gw.yaml: {left_out}GatewayClass ")
    assert "Gateway default/edge, Service default/a" in note
    assert (
        f"warning: TCPRoute default/web: its parent, Gateway default/edge, is in {tmp_path}/gw.yaml, which was left out"
    ) in lines


def test_a_folder_in_the_folder_that_has_manifests_is_warned_of(tmp_path: Path) -> None:
    shutil.copytree(QUICKSTART, tmp_path, dirs_exist_ok=True)
    for name in ("prod/more/web.yaml", "docs/readme.txt", "..2026_11_26/web.yaml"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    result = check(tmp_path, "--strict")
    assert result.stderr.splitlines() == [
        f"warning: {tmp_path}/prod: folders in the folder are not read, and this one has 1 manifest files"
    ]
    assert result.exit_code == 1


@pytest.mark.parametrize("name", ["extra.YAML", "extra.YML", "extra.Json"])
def test_a_file_that_is_not_read_for_its_capitals_is_warned_of(tmp_path: Path, name: str) -> None:
    shutil.copytree(QUICKSTART, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text("kind: [\n")
    result = check(tmp_path, "--strict")
    assert result.stderr == f"warning: {tmp_path}/{name}: is not read: name it {name.lower()}\n"
    assert result.exit_code == 1


@pytest.mark.parametrize("content", ["", "---\n", "\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str) -> None:
    shutil.copytree(QUICKSTART, tmp_path, dirs_exist_ok=True)
    (tmp_path / "none.yaml").write_text(content)
    result = check(tmp_path)
    assert result.stderr.startswith(f"error: {tmp_path}/none.yaml: is empty; to remove its objects, remove the file\n")
    assert result.exit_code == 1


def test_a_folder_that_is_not_there_is_a_wrong_command_line(tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere")
    assert (result.exit_code, "does not exist" in result.stderr) == (2, True)


def test_the_quickstart_is_flawless() -> None:
    result = check(QUICKSTART, "--strict")
    assert (result.exit_code, result.stderr) == (0, "")
