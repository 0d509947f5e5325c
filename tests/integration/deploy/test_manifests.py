"""The Kubernetes manifests: valid by schema, and whole: every name in them leads to what it means."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from gateway import inside
from services.chassis.addresses import split_host_port
from services.chassis.grpc_server import LIVENESS, STARTUP
from services.chassis.settings import BaseServiceSettings
from tests.integration.deploy.manifests import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    SECRETS,
    SETTINGS,
    Object,
    built,
    containers,
    kubernetes_environment,
    loaded,
    module_of,
    named,
    of_kind,
    pods,
    rendered,
    template_of,
    worker,
)

VERSION = "1.37"
# Kinds that KEDA and Kueue add to a cluster; their schemas are not Kubernetes' own.
ADDED_KINDS = {"ScaledJob", "TriggerAuthentication", "LocalQueue"}
INSIDE = {name: f"fiveshot-inside-{name}" for name in inside.HOLDERS}
"""The Secrets that `python -m gateway.inside DIR --secrets` prints."""
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


@overlays
def test_every_object_is_valid(overlay: str) -> None:
    checked = 0
    for item in rendered(overlay):
        if item["kind"] in ADDED_KINDS:
            assert overlay == "prod"
            continue
        kubernetes_validate.validate(item, VERSION, strict=True)
        checked += 1
    assert checked >= 25
    keys = [(item["kind"], item["metadata"]["name"]) for item in rendered(overlay)]
    assert len(set(keys)) == len(keys)


@overlays
def test_every_part_of_the_suite_is_deployed(overlay: str) -> None:
    run = {module_of(container) for _, template in pods(overlay) for container in containers(template)} - {None}
    assert run == set(SETTINGS)


@overlays
def test_selectors_find_their_pods(overlay: str) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods(overlay)}
    for item in of_kind(overlay, "Deployment", "StatefulSet"):
        wanted = item["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= labels[item["metadata"]["name"]].items()
        # No other workload's pods: two controllers would fight over them.
        assert [name for name, own in labels.items() if wanted.items() <= own.items()] == [item["metadata"]["name"]]
    for item in of_kind(overlay, "Service", "PodDisruptionBudget"):
        selector = item["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        assert [name for name, own in labels.items() if wanted.items() <= own.items()] == [item["metadata"]["name"]]
    for item in of_kind(overlay, "NetworkPolicy"):
        selector = item["spec"]["podSelector"]
        for expression in selector.get("matchExpressions", ()):
            names = {own.get(expression["key"]) for own in labels.values()}
            assert set(expression["values"]) <= names
        wanted = selector.get("matchLabels", {})
        jobs = [job["spec"]["template"]["metadata"]["labels"] for job in of_kind(overlay, "Job")]
        assert any(wanted.items() <= own.items() for own in [*labels.values(), *jobs])


@overlays
def test_references_between_objects_lead_somewhere(overlay: str) -> None:
    for _, template in pods(overlay):
        spec = template["spec"]
        if "serviceAccountName" in spec:
            named(overlay, "ServiceAccount", spec["serviceAccountName"])
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        for volume in spec.get("volumes", ()):
            if "configMap" in volume:
                named(overlay, "ConfigMap", volume["configMap"]["name"])
            if "secret" in volume:
                assert volume["secret"]["secretName"] in {"fiveshot-api-keys", *INSIDE.values()}
            if "persistentVolumeClaim" in volume:
                named(overlay, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
        for container in containers(template):
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            claims = {"data"} if container["name"] in ("postgres", "nats", "s3") else set()
            assert mounted <= volumes | claims, container["name"]
    for item in of_kind(overlay, "HorizontalPodAutoscaler", "ScaledObject"):
        target = named(overlay, "Deployment", item["spec"]["scaleTargetRef"]["name"])
        # A fixed number would be put back at every deployment.
        assert "replicas" not in target["spec"]


@overlays
def test_the_environment_is_what_the_settings_know(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    services = {item["metadata"]["name"]: item for item in of_kind(overlay, "Service")}
    for pod, template in pods(overlay):
        for container in containers(template):
            module = module_of(container)
            if module is None:
                continue
            settings = loaded(module, kubernetes_environment(overlay, container), monkeypatch)
            for name, value in settings.model_dump().items():
                if name.endswith("_target") and name in settings.model_fields_set:
                    _check_target(pod, value, services)
            if module.startswith("services."):
                own = {"database_url", "internal_token_file", "metrics_listen", "page_token_key"}
                own &= set(type(settings).model_fields)
                if module == "services.trainer.worker.app":
                    own -= {"database_url"}
                assert own <= settings.model_fields_set, f"{pod} would run with defaults that are for one machine"


@overlays
def test_ports_agree_with_what_the_process_listens_on(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod, template in pods(overlay):
        for container in template["spec"]["containers"]:
            module = module_of(container)
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            if module is not None:
                settings = loaded(module, kubernetes_environment(overlay, container), monkeypatch)
                assert isinstance(settings, BaseServiceSettings)
                assert split_host_port(settings.listen) == ("0.0.0.0", ports["grpc"])
                assert split_host_port(settings.metrics_listen) == ("0.0.0.0", ports["metrics"])
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                how = container.get(probe, {})
                port = how.get("grpc", how.get("tcpSocket", {})).get("port")
                assert port is None or port in ports.values() or port in ports, f"{pod} {probe}"
        open_ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        for service in of_kind(overlay, "Service"):
            if service["metadata"]["name"] == pod:
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= open_ports


@overlays
def test_every_process_is_probed_limited_and_hardened(overlay: str) -> None:
    for name, template in pods(overlay):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            if str(container["image"]).startswith(("fiveshot-", "envoyproxy/")):
                assert rights["readOnlyRootFilesystem"] is True
                assert any(mount["mountPath"] == "/tmp" for mount in container["volumeMounts"]), name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
        for container in spec["containers"]:
            if not str(container["image"]).startswith(("postgres", "nats", "chrislusf")):
                assert {"startupProbe", "livenessProbe"} <= set(container), name
            if "grpc" in container.get("startupProbe", {}):
                # What goes away just after the start is no reason to start again.
                assert container["startupProbe"]["grpc"]["service"] == STARTUP, name
            if "grpc" in container.get("livenessProbe", {}):
                # Of the process alone: an outage of its database must not restart it.
                assert container["livenessProbe"]["grpc"]["service"] == LIVENESS, name
                assert "service" not in container.get("readinessProbe", {}).get("grpc", {}), name


@overlays
def test_the_gateways_authorization_outlives_envoy(overlay: str) -> None:
    """Kubernetes ends sidecars, that is init containers which are restarted, after the others."""
    pod = named(overlay, "Deployment", "gateway")["spec"]["template"]["spec"]
    (envoy,) = pod["containers"]
    configures, authorizes = pod["initContainers"]
    assert (module_of(authorizes), authorizes["restartPolicy"]) == ("gateway.app", "Always")
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(authorizes)
    assert "restartPolicy" not in configures
    # What the drain takes must fit into the grace.
    assert "exec" in envoy["lifecycle"]["preStop"]
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_workers_ask_for_a_gpu_except_in_development() -> None:
    for overlay in OVERLAYS:
        app = template_of(worker(overlay))["spec"]["containers"][0]
        limits, environment = app["resources"]["limits"], kubernetes_environment(overlay, app)
        if overlay == "dev":
            assert ("nvidia.com/gpu" in limits, environment["WORKER_DEVICE"]) == (False, "cpu")
        else:
            assert (limits["nvidia.com/gpu"], environment["WORKER_DEVICE"]) == ("1", "cuda")


def test_the_worker_pool_grows_with_the_queue_within_the_quota() -> None:
    scaled = worker("prod")
    named("prod", "LocalQueue", scaled["metadata"]["labels"]["kueue.x-k8s.io/queue-name"])
    trigger = scaled["spec"]["triggers"][0]
    access = named("prod", "TriggerAuthentication", trigger["authenticationRef"]["name"])
    secret = access["spec"]["secretTargetRef"][0]
    assert (secret["parameter"], secret["name"]) == ("connection", "fiveshot-secrets")
    assert secret["key"] in SECRETS
    assert (scaled["spec"]["minReplicaCount"], trigger["type"]) == (0, "postgresql")


def test_a_worker_is_never_chosen_to_go_but_ends_when_it_idles(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = worker("prod")
    assert scaled["kind"] == "ScaledJob"
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "worker"},
        "spec": scaled["spec"]["jobTargetRef"],
    }
    for version in ("1.29", VERSION):
        kubernetes_validate.validate(job, version, strict=True)
    (app,) = template_of(scaled)["spec"]["containers"]
    settings = loaded("services.trainer.worker.app", kubernetes_environment("prod", app), monkeypatch)
    assert settings.model_dump()["idle_exit_seconds"] == 600
    (stays,) = template_of(worker("dev"))["spec"]["containers"]
    settings = loaded("services.trainer.worker.app", kubernetes_environment("dev", stays), monkeypatch)
    assert settings.model_dump()["idle_exit_seconds"] == 0


def test_jobs_migrate_and_the_replicas_wait_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    overlay = "prod"
    # Behind the name stands a digest: a Job can't be changed.
    jobs = {item["metadata"]["name"].rpartition("-")[0]: item["spec"] for item in of_kind(overlay, "Job")}
    assert set(jobs) == {f"migrate-{name}" for name in ("dataset", "tagger", "trainer", "registry", "notifier")}
    for name, job in jobs.items():
        (migrates,) = job["template"]["spec"]["containers"]
        service = named(overlay, "Deployment", name.removeprefix("migrate-"))["spec"]["template"]["spec"]
        (serves,) = service["containers"]
        assert migrates["args"] == [module_of(serves), "migrate"]
        assert migrates["image"] == serves["image"]
        assert job["template"]["spec"]["serviceAccountName"] == service["serviceAccountName"]
        settings = [
            loaded(str(module_of(each)), kubernetes_environment(overlay, each), monkeypatch)
            for each in (migrates, serves)
        ]
        assert len({each.database_url for each in settings}) == 1  # type: ignore[attr-defined]
        assert [each.database_migrate for each in settings] == [True, False]  # type: ignore[attr-defined]
        assert migrates["securityContext"] == serves["securityContext"]
        assert job["ttlSecondsAfterFinished"] > 0, "a Job that stays keeps the next release from being applied"


def test_every_secret_and_file_is_explained_and_no_secret_is_written_down() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    used = set()
    for overlay in OVERLAYS:
        for item in rendered(overlay):
            assert item["kind"] != "Secret", "secrets are made in the cluster, not written down here"
            used |= set(_secret_keys(item))
    assert used == set(SECRETS)
    assert [key for key in used if f"`{key}`" not in page and f"--from-literal={key}=" not in page] == []
    assert "fiveshot-api-keys" in page
    for path in DEPLOY.rglob("*.yaml"):
        assert "PRIVATE KEY" not in path.read_text(encoding="utf-8")


def test_the_kustomization_of_the_docs_builds_on_the_manifests(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    target = os.path.relpath((DEPLOY / "k8s" / "prod").resolve(), tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(text.replace("../fiveshot/deploy/k8s/prod", target), encoding="utf-8")
    found = built(tmp_path)
    (servers,) = [item["data"] for item in found if item["metadata"]["name"] == "fiveshot-servers"]
    assert (servers["s3-endpoint"], servers["nats-url"]) == ("s3.internal", "tls://nats.internal:4222")
    images = {
        container["image"]
        for item in found
        if item["kind"] in ("Deployment", "Job") and item["metadata"]["name"].endswith("dataset")
        for container in containers(item["spec"]["template"])
    }
    assert images == {"registry.example.com/team/fiveshot-dataset:0.1.0"}


def _secret_keys(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["secretKeyRef"]["key"]] if "secretKeyRef" in node else []
        own += [entry["key"] for entry in node.get("secretTargetRef", ())]
        return own + [key for value in node.values() for key in _secret_keys(value)]
    if isinstance(node, list):
        return [key for value in node for key in _secret_keys(value)]
    return []


def _check_target(pod: str, target: str, services: dict[str, Object]) -> None:
    host, port = split_host_port(target)
    if host == "127.0.0.1":
        assert (pod, port) == ("gateway", 7455)
        return
    assert port in [entry["port"] for entry in services[host]["spec"]["ports"]], f"{pod} calls {target}"


@overlays
def test_each_process_has_its_own_token_and_callers(overlay: str, tmp_path: Path) -> None:
    inside.make(tmp_path)
    secrets = {each["metadata"]["name"]: set(each["stringData"]) for each in inside.as_secrets(tmp_path)}
    assert set(secrets) == set(INSIDE.values())
    holders = {"authorization": "gateway", "envoy-config": "envoy"}
    seen = set()
    for pod, template in pods(overlay):
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", ())}
        for container in containers(template):
            if module_of(container) is None:
                continue
            holder = holders.get(container["name"], pod)
            (mount,) = [each for each in container["volumeMounts"] if each["name"].startswith("inside")]
            # A mount by subPath would never change.
            assert (mount["mountPath"], mount["readOnly"], "subPath" in mount) == ("/inside", True, False)
            secret = volumes[mount["name"]]["secret"]["secretName"]
            assert secret == INSIDE[holder]
            given = kubernetes_environment(overlay, container)
            named_files = {Path(value).name for name, value in given.items() if value.startswith("/inside/")}
            assert named_files == secrets[secret], holder
            seen.add(holder)
    assert seen == set(inside.HOLDERS)


def test_replicas_of_the_gateway_share_the_sessions_of_browsers() -> None:
    for overlay in OVERLAYS:
        spec = named(overlay, "Deployment", "gateway")["spec"]["template"]["spec"]
        (authorization,) = [each for each in spec["initContainers"] if each["name"] == "authorization"]
        assert kubernetes_environment(overlay, authorization)["GATEWAY_SESSIONS_DIR"] == "/sessions"
        (sessions,) = [each for each in spec["volumes"] if each["name"] == "sessions"]
        assert ("persistentVolumeClaim" in sessions) == (overlay == "prod")
        assert ("emptyDir" in sessions) == (overlay != "prod")
    claim = named("prod", "PersistentVolumeClaim", "gateway-sessions")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
