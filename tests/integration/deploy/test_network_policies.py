"""What the network policies let through: who calls whom is the table of the tokens, and nothing else is open."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from gateway import inside
from tests.integration.deploy.manifests import OVERLAYS, Object, containers, of_kind, pods

PORTS = {
    "dataset": 7451,
    "tagger": 7452,
    "trainer": 7453,
    "registry": 7454,
    "notifier": 7457,
    "gateway": 7437,
    "worker": 7456,
}
METRICS = 9090
ENVOY_METRICS = 9091
SERVER_PORTS = {
    "dev": {"database": 5432, "s3": 8333, "nats": 4222},
    "prod": {"database": 5432, "s3": 443, "nats": 4222},
}
DEV_PODS = {"database": "postgres", "s3": "s3", "nats": "nats"}
NEEDS = {
    "dataset": {"database", "s3", "nats"},
    "tagger": {"database", "nats"},
    "trainer": {"database", "s3", "nats"},
    "registry": {"database", "s3", "nats"},
    "notifier": {"database", "nats"},
    "worker": {"s3"},
    "gateway": set(),
}
STRANGER = {"app.kubernetes.io/name": "stranger"}
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def labels_of(overlay: str) -> dict[str, dict[str, str]]:
    """Labels of the suite's own pods, Jobs included, by name."""
    found = {name: template["metadata"]["labels"] for name, template in pods(overlay)}
    jobs = {job["metadata"]["name"]: job["spec"]["template"]["metadata"]["labels"] for job in of_kind(overlay, "Job")}
    return found | jobs


def selected(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector of labels means these; the policies use no expressions."""
    assert set(selector) <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def lets(rules: list[Object], side: str, peer: dict[str, str] | None, port: int) -> bool:
    """Whether one of the rules is for this peer and port. side: from or to. peer: None outside the cluster."""
    for rule in rules:
        peers: list[Any] = rule.get(side) or [{}]
        ports = [each["port"] for each in rule.get("ports", ())]
        if ports and port not in ports:
            continue
        for each in peers:
            if not each or (peer is not None and "podSelector" in each and selected(each["podSelector"], peer)):
                return True
    return False


def open_to(overlay: str, caller: dict[str, str] | None, called: dict[str, str] | None, port: int) -> bool:
    """Whether the policies of both ends let a connection through, as Kubernetes combines them."""
    for own, other, kind, side in ((caller, called, "Egress", "to"), (called, caller, "Ingress", "from")):
        if own is None:
            continue
        policies = [
            item["spec"]
            for item in of_kind(overlay, "NetworkPolicy")
            if kind in item["spec"]["policyTypes"] and selected(item["spec"]["podSelector"], own)
        ]
        if policies and not any(lets(each.get(kind.lower(), []), side, other, port) for each in policies):
            return False
    return True


@overlays
def test_a_service_is_open_to_its_callers_and_to_nobody_else(overlay: str) -> None:
    labels = labels_of(overlay)
    for called, port in PORTS.items():
        callers = set(inside.MAY_CALL.get(called, ()))
        for caller, own in [*labels.items(), ("stranger", STRANGER)]:
            reaches = open_to(overlay, own, labels[called], port)
            if called == "gateway":
                assert reaches == (caller not in {*PORTS, *(name for name in labels if name.startswith("migrate"))})
            else:
                assert reaches == (caller in callers), f"{caller} calls {called}"


@overlays
def test_the_ports_are_those_of_the_pods(overlay: str) -> None:
    """Policies name numbers: a sidecar's port has no name for every network."""
    for name, template in pods(overlay):
        if name in PORTS:
            ports = {port["containerPort"] for each in containers(template) for port in each.get("ports", ())}
            assert {PORTS[name], METRICS, *((ENVOY_METRICS,) if name == "gateway" else ())} <= ports


@overlays
def test_each_process_reaches_the_servers_that_it_needs_and_no_others(overlay: str) -> None:
    labels = labels_of(overlay)
    for server, port in SERVER_PORTS[overlay].items():
        target = labels[DEV_PODS[server]] if overlay == "dev" else None
        for name, own in labels.items():
            if name in NEEDS:
                assert open_to(overlay, own, target, port) == (server in NEEDS[name]), f"{name} and {server}"
            elif name.startswith("migrate-"):
                assert open_to(overlay, own, target, port) == (server == "database")
    for name in NEEDS:
        assert not open_to(overlay, labels[name], None, 80)
        assert not open_to(overlay, labels[name], None, 25)


@overlays
def test_webhooks_reach_the_internet_and_no_private_network(overlay: str) -> None:
    found = {}
    for item in of_kind(overlay, "NetworkPolicy"):
        for rule in item["spec"].get("egress", ()):
            for peer in rule.get("to", ()):
                if "ipBlock" in peer:
                    found[item["metadata"]["name"]] = (peer["ipBlock"], rule["ports"])
    assert set(found) == {"notifier"}
    block, ports = found["notifier"]
    assert ports == [{"protocol": "TCP", "port": 443}]
    closed = [ip_network(each) for each in block["except"]]
    for address in ("10.96.0.1", "192.168.1.1", "172.20.0.1", "169.254.169.254", "127.0.0.1"):
        assert any(ip_address(address) in each for each in closed), address
    assert not any(ip_address("1.1.1.1") in each for each in closed)


@overlays
def test_no_pod_of_the_suite_is_left_out(overlay: str) -> None:
    for name, own in labels_of(overlay).items():
        if name not in DEV_PODS.values():
            assert not open_to(overlay, STRANGER, own, 1), name
            assert not open_to(overlay, own, None, 1), name
            assert own["app.kubernetes.io/part-of"] == "fiveshot"
    # One that a later release brings, without a policy of its own.
    new = {"app.kubernetes.io/part-of": "fiveshot", "app.kubernetes.io/name": "new"}
    for other in (None, STRANGER, *labels_of(overlay).values()):
        assert not open_to(overlay, other, new, 7500)
        assert not open_to(overlay, new, other, 7500)


@overlays
def test_metrics_are_open_to_every_namespace_and_names_are_looked_up(overlay: str) -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in of_kind(overlay, "NetworkPolicy")}
    for name in PORTS:
        rules = [rule for rule in policies[name]["ingress"] if rule.get("from") == [{"namespaceSelector": {}}]]
        wanted = [METRICS, ENVOY_METRICS] if name == "gateway" else [METRICS]
        assert [[port["port"] for port in rule["ports"]] for rule in rules] == [wanted]
    (dns,) = policies["names"]["egress"]
    assert {(port["protocol"], port["port"]) for port in dns["ports"]} == {("UDP", 53), ("TCP", 53)}
