"""The Helm chart: deploy/k8s is what it gives, every switch of it gives valid objects, and wrong values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.fixtures.helm_chart import CHART, ROOT, Values, engine, objects, tried
from tests.fixtures.monitoring import RULES
from tests.fixtures.processes import finished
from tests.integration.deploy.manifests import SETTINGS, containers, pods

DIGEST = "sha256:" + "1f" * 32
# The oldest that Chart.yaml admits, and the newest whose schemas there are.
VERSIONS = ("1.29", "1.37")
# Kinds that others add to a cluster; their schemas are not Kubernetes' own.
ADDED_KINDS = {
    "ScaledJob",
    "ScaledObject",
    "TriggerAuthentication",
    "LocalQueue",
    "PodMonitor",
    "PrometheusRule",
    "HTTPRoute",
    "GRPCRoute",
}
SERVICES = ("dataset", "tagger", "trainer", "registry", "notifier")
WEIGHTS = {
    "url": "https://models.example.com/unet.safetensors",
    "sha256": "ab" * 32,
    "path": "big/unet/model.safetensors",
}
EVERYTHING: Values = {
    "images": {
        "prefix": "registry.example.com/team/",
        "digests": dict.fromkeys((*SERVICES, "gateway", "worker"), DIGEST),
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "registry"}],
    },
    "secrets": {"servers": "my-servers", "apiKeys": "my-keys", "insidePrefix": "my-inside-"},
    "servers": {
        "certificates": {"secretName": "server-certificates"},
        "database": {"sslmode": "verify-full", "caFile": "pg-ca.crt", "certFile": "pg.crt", "keyFile": "pg.key"},
        "s3": {
            "region": "eu-1",
            "publicEndpoint": "s3.example.org:443",
            "caFile": "ca.crt",
            "addressing": "path",
            "identity": "web",
            "identityUrl": "https://sts.example.com",
            "role": "fiveshot",
            "tokenAudience": "s3",
        },
        "nats": {
            "url": "tls://nats-0.example.com:4222,tls://nats-1.example.com:4222",
            "caFile": "ca.crt",
            "credentialsFile": "services.creds",
        },
    },
    "tracing": {
        "endpoint": "collector.example.com:4317",
        "share": 0.1,
        "caFile": "ca.crt",
        "certFile": "otlp.crt",
        "keyFile": "otlp.key",
        "headersSecret": "collector",
    },
    "tagger": {"taggers": {"existingClaim": "taggers"}},
    "dataset": {
        "env": {"DATASET_LOG_LEVEL": "DEBUG"},
        "serviceAccount": {"annotations": {"iam.example.com/role": "dataset"}},
        "podAnnotations": {"example.com/seen": "yes"},
        "nodeSelector": {"pool": "cpu"},
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "trainer": {"autoscaling": {"enabled": True}},
    "gateway": {
        "service": {"type": "LoadBalancer", "annotations": {"example.com/lb": "internal"}},
        "tls": {"secretName": "gateway-tls"},
        "sessions": {"storageClassName": "shared"},
        "env": {"GATEWAY_TRUSTED_PROXIES": 1},
    },
    "worker": {"runtimeClassName": "nvidia", "nodeSelector": {"pool": "gpu"}, "keda": {"kind": "ScaledObject"}},
    "baseWeights": {
        "enabled": True,
        "catalogue": '[base_models.big]\nsource = "/base_models/big"\n\ntitle = "Big"\n',
        "files": [WEIGHTS],
        "credentialsSecret": "hub",
        "storageClassName": "shared",
    },
    "networkPolicy": {
        "callersFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "extraEgress": {
            "all": [{"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 4317}]}],
            "gateway": [{"ports": [{"protocol": "TCP", "port": 443}]}],
        },
    },
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "http": {"host": "fiveshot.example.com", "tlsSecret": "web-tls"},
        "grpc": {"host": "grpc.example.com", "tlsSecret": "web-tls", "annotations": {"example.com/protocol": "GRPC"}},
    },
    "gatewayApi": {
        "enabled": True,
        "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "https"}],
        "http": {"hosts": ["fiveshot.example.com"]},
        "grpc": {"hosts": ["grpc.example.com"]},
    },
    "podMonitors": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRules": {"enabled": True, "labels": {"release": "prometheus"}},
}
PLAIN: Values = {
    "migrations": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "spread": False,
    "worker": {"keda": {"enabled": False}, "kueue": {"enabled": False}},
}
FILES: Values = {"certificates": {"secretName": "files"}}
SAME: Values = {"hosts": ["a.example.com"]}
# What is wrong → a word of the message, which names the key.
WRONG: list[tuple[Values, str]] = [
    ({"imagse": {}}, "imagse"),
    ({"images": {"tag": "latest"}}, "tag"),
    ({"images": {"digests": {"dataset": "sha256:abc"}}}, "dataset"),
    ({"images": {"envoy": "envoyproxy/envoy"}}, "envoy"),
    ({"images": {"prefix": "registry.example.com/team"}}, "prefix"),
    ({"secrets": {"servers": ""}}, "servers"),
    ({"servers": {"s3": {"endpoint": "https://s3.example.com"}}}, "endpoint"),
    ({"servers": {"s3": {"secure": "yes"}}}, "secure"),
    ({"servers": {"nats": {"url": "nats://user:password@nats:4222"}}}, "url"),
    ({"dataset": {"replicas": 0}}, "replicas"),
    ({"dataset": {"replicas": "2"}}, "replicas"),
    ({"dataset": {"resources": {"requests": {"cpu": "lots"}}}}, "cpu"),
    ({"dataset": {"resources": {"limits": {"memory": None}}}}, "memory"),
    ({"dataset": {"env": {"TAGGER_LOG_LEVEL": "DEBUG"}}}, "TAGGER_LOG_LEVEL"),
    ({"dataset": {"autoscaling": {"minReplicas": 11}}}, "minReplicas"),
    ({"gateway": {"service": {"type": "External"}}}, "type"),
    ({"gateway": {"tls": {"secretName": "Not_A_Name"}}}, "secretName"),
    ({"worker": {"device": "gpu"}}, "device"),
    ({"worker": {"keda": {"minReplicas": 9}}}, "minReplicas"),
    ({"worker": {"keda": {"kind": "Deployment"}}}, "kind"),
    ({"worker": {"tolerations": [{"key": "a", "operator": "In"}]}}, "operator"),
    ({"baseWeights": {"enabled": True}}, "catalogue"),
    ({"baseWeights": {"enabled": True, "catalogue": "x", "files": [WEIGHTS | {"path": "../etc/passwd"}]}}, "path"),
    ({"baseWeights": {"enabled": True, "catalogue": "x", "files": [WEIGHTS | {"sha256": ""}]}}, "sha256"),
    ({"networkPolicy": {"servers": {"s3": {"port": 70000}}}}, "port"),
    ({"networkPolicy": {"metricsFrom": [{"cidr": "10.0.0.0/8"}]}}, "cidr"),
    ({"ingress": {"enabled": True}}, "host"),
    ({"gatewayApi": {"enabled": True, "http": {"hosts": ["a.example.com"]}}}, "parentRefs"),
    ({"podMonitors": {"interval": "often"}}, "interval"),
    ({"servers": {"database": {"sslmode": "yes"}}}, "sslmode"),
    ({"servers": {"database": {"caFile": "ca.crt"}}}, "servers.certificates.secretName"),
    ({"servers": {"s3": {"identity": "web"}}}, "identityUrl"),
    ({"servers": {"s3": {"addressing": "host"}}}, "addressing"),
    ({"servers": {"nats": {"caFile": "../ca.crt"}}}, "caFile"),
    ({"tracing": {"endpoint": "https://collector:4317"}}, "endpoint"),
    ({"tracing": {"share": 2}}, "share"),
    ({"images": {"envoy": "envoyproxy/envoy:latest"}}, "envoy"),
    ({"secrets": {"insidePrefix": "a" * 300 + "-"}}, "insidePrefix"),
    ({"servers": {**FILES, "database": {"caFile": "ca.crt", "sslmode": "disable"}}}, "sslmode disable"),
    ({"servers": {**FILES, "s3": {"caFile": "ca.crt", "secure": False}}}, "without secure"),
    ({"servers": {"s3": {"bucket": "a..b"}}}, "bucket"),
    ({"servers": {"s3": {"bucket": "192.168.1.1"}}}, "bucket"),
    ({"servers": {"s3": {"endpoint": "s3.example.com:0"}}}, "endpoint"),
    ({"servers": {"s3": {"endpoint": "s3.example.com:99999"}}}, "endpoint"),
    ({"servers": {"s3": {"endpoint": "999.1.1.1:9000"}}}, "endpoint"),
    ({"servers": {"s3": {"region": "eu west"}}}, "region"),
    ({"servers": {"nats": {"url": "nats://a:0"}}}, "url"),
    ({"servers": {"nats": {"url": "nats://a:4222,nats://b:99999"}}}, "url"),
    ({"tracing": {"endpoint": "collector:99999"}}, "endpoint"),
    ({"servers": FILES, "tracing": {"endpoint": "a:1", "secure": False, "caFile": "ca.crt"}}, "without secure"),
    ({"dataset": {"env": {"DATASET_LOG_LEVL": "DEBUG"}}}, "DATASET_LOG_LEVL"),
    ({"worker": {"env": {"WORKER_THREAD": 1}}}, "WORKER_THREAD"),
    ({"dataset": {"env": {"DATASET_LOG_LEVEL": "LOUD"}}}, "DATASET_LOG_LEVEL"),
    ({"dataset": {"env": {"DATASET_DECODE_PROCESSES": 0}}}, "DATASET_DECODE_PROCESSES"),
    ({"dataset": {"env": {"DATASET_DECODE_PROCESSES": 1.5}}}, "DATASET_DECODE_PROCESSES"),
    ({"trainer": {"env": {"TRAINER_SHUTDOWN_GRACE_S": "ten"}}}, "TRAINER_SHUTDOWN_GRACE_S"),
    ({"registry": {"env": {"REGISTRY_SHUTDOWN_GRACE_S": 3601}}}, "REGISTRY_SHUTDOWN_GRACE_S"),
    ({"worker": {"env": {"WORKER_PROBE": "perhaps"}}}, "WORKER_PROBE"),
    ({"gateway": {"env": {"GATEWAY_CHECK_JSON": 7}}}, "GATEWAY_CHECK_JSON"),
    ({"dataset": {"resources": {"limits": {"memory": "0"}}}}, "memory"),
    ({"dataset": {"resources": {"limits": {"memory": 512}}}}, "memory"),
    ({"dataset": {"affinity": {"nodeAfinity": {}}}}, "nodeAfinity"),
    ({"dataset": {"nodeSelector": {"two words": "a"}}}, "two words"),
    ({"gateway": {"sessions": {"size": "0"}}}, "size"),
    ({"worker": {"scratchSize": 20}}, "scratchSize"),
    ({"worker": {"resources": {"limits": {"nvidia.com/gpu": "0.5"}}}}, "gpu"),
    ({"baseWeights": {"files": [WEIGHTS | {"url": "https://user:secret@example.com/a"}]}}, "url"),
    ({"baseWeights": {"files": [WEIGHTS, WEIGHTS]}}, "stands there twice"),
    ({"networkPolicy": {"callersFrom": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}}, "cidr"),
    ({"networkPolicy": {"callersFrom": [{"ipBlock": {"cidr": "10.0.0.300/8"}}]}}, "cidr"),
    ({"networkPolicy": {"callersFrom": [{"ipBlock": {"cidr": "everyone"}}]}}, "cidr"),
    ({"networkPolicy": {"extraEgress": {"all": [{"ports": [{"port": 99999}]}]}}}, "port"),
    ({"networkPolicy": {"extraEgress": {"all": [{"ports": [{"protocol": "ICMP"}]}]}}}, "protocol"),
    ({"networkPolicy": {"metricsFrom": [{"namespaceSelector": {"matchLabel": {}}}]}}, "matchLabel"),
    ({"ingress": {"enabled": True, "http": {"host": "a.b"}, "grpc": {"host": "a.b"}}}, "must differ"),
    ({"gatewayApi": {"enabled": True, "parentRefs": [{"name": "a"}], "http": SAME, "grpc": SAME}}, "a.example.com"),
    ({"podMonitors": {"interval": "0s"}}, "interval"),
    ({"podMonitors": {"labels": {"two words": "a"}}}, "two words"),
]


def test_the_manifests_of_kubectl_are_what_the_chart_gives() -> None:
    run = finished([engine(), "-m", "tools.helm_chart", "check"], cwd=ROOT)
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """The objects of the defaults, of everything that can be switched on, and of what can be switched off."""
    found = tried([{}, EVERYTHING, PLAIN], tmp_path_factory.mktemp("chart"))
    assert [answer.get("lint") for answer in found] == [[], [], []], [answer.get("error") for answer in found]
    return [objects(answer) for answer in found]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_switch_gives_valid_objects(answers: list[list[dict[str, Any]]], version: str) -> None:
    for given in answers:
        keys = [(item["kind"], item["metadata"]["name"]) for item in given]
        assert len(set(keys)) == len(keys)
        for item in given:
            if item["kind"] not in ADDED_KINDS:
                kubernetes_validate.validate(item, version, strict=True)
    default, everything, plain = ({item["kind"] for item in given} for given in answers)
    assert everything - default == {
        "Ingress", "HTTPRoute", "GRPCRoute", "PodMonitor", "PrometheusRule", "ScaledObject",
    }  # fmt: skip
    assert default - plain == {"Job", "NetworkPolicy", "ScaledJob", "TriggerAuthentication", "LocalQueue"}


def test_the_oldest_kubernetes_is_the_one_that_is_checked() -> None:
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["kubeVersion"]
    assert wanted == f">={VERSIONS[0]}.0-0"


def test_images_are_taken_by_digest_where_there_is_one(answers: list[list[dict[str, Any]]]) -> None:
    for item in answers[1]:
        if item["kind"] in ("Deployment", "Job"):
            for container in containers(item["spec"]["template"]):
                image = container["image"]
                ours = image.startswith("registry.example.com/team/fiveshot-") and image.endswith(f"@{DIGEST}")
                assert ours or image.startswith("envoyproxy/envoy:"), image
                assert container["imagePullPolicy"] == "Always"
            assert item["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_secrets_that_exist_are_used_under_their_names(answers: list[list[dict[str, Any]]]) -> None:
    used = {name for item in answers[1] for name in _secrets(item)}
    assert used == {
        "my-servers", "my-keys", "gateway-tls", "web-tls", "hub", "server-certificates", "collector",
        *(f"my-inside-{name}" for name in (*SERVICES, "gateway", "envoy", "worker")),
    }  # fmt: skip
    assert not [item for given in answers for item in given if item["kind"] == "Secret"]


def test_every_variable_is_a_setting_of_its_process(answers: list[list[dict[str, Any]]]) -> None:
    seen = set()
    for item in answers[1]:
        if item["kind"] not in ("Deployment", "Job"):
            continue
        for container in containers(item["spec"]["template"]):
            words = " ".join([*container.get("command", ()), *container.get("args", ())]).split()
            for module in {word for word in words if word in SETTINGS}:
                prefix = str(SETTINGS[module].model_config["env_prefix"])
                known = {f"{prefix}{name}".upper() for name in SETTINGS[module].model_fields}
                names = [entry["name"] for entry in container["env"]]
                assert set(names) <= known
                assert len(set(names)) == len(names)
                seen |= set(names)
    wanted = {
        "TRAINER_CATALOGUE",
        "WORKER_CATALOGUE",
        "GATEWAY_TLS_KEY_FILE",
        "DATASET_S3_PUBLIC_SECURE",
        "WORKER_S3_REGION",
    }
    wanted |= {"GATEWAY_TRUSTED_PROXIES", "DATASET_LOG_LEVEL", "TAGGER_TAGGERS_DIR", "GATEWAY_OTLP_HEADERS"}
    wanted |= {"REGISTRY_S3_TOKEN_FILE", "NOTIFIER_NATS_CREDENTIALS_FILE", "TAGGER_DATABASE_SSLMODE"}
    assert wanted | {f"{name.upper()}_OTLP_CA_FILE" for name in (*SERVICES, "gateway", "worker")} <= seen
    assert "REGISTRY_S3_SECRET_KEY" not in seen


def test_every_file_that_a_variable_names_is_mounted(answers: list[list[dict[str, Any]]]) -> None:
    found = 0
    for item in answers[1]:
        if item["kind"] not in ("Deployment", "Job"):
            continue
        spec = item["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        for container in containers(item["spec"]["template"]):
            mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())}
            assert set(mounts.values()) <= volumes
            for entry in container.get("env", ()):
                folder = "/" + str(entry.get("value", "")).removeprefix("/").split("/")[0]
                if entry["name"].endswith(("_FILE", "TAGGERS_DIR")):
                    assert folder in mounts, (item["metadata"]["name"], entry)
                    found += 1
    assert found > 60


def test_the_alerts_of_the_chart_are_those_that_are_tested(answers: list[list[dict[str, Any]]]) -> None:
    (found,) = [item for item in answers[1] if item["kind"] == "PrometheusRule"]
    assert found["spec"] == yaml.safe_load(RULES.read_text(encoding="utf-8"))
    (monitor,) = [item for item in answers[1] if item["kind"] == "PodMonitor"]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ["metrics", "envoy-metrics"]


def test_base_weights_reach_trainer_and_workers_read_only(answers: list[list[dict[str, Any]]]) -> None:
    (job,) = [item for item in answers[1] if item["metadata"]["name"].startswith("fill-weights")]
    writer = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "base-weights", "mountPath": "/base_models"} in writer
    for item in answers[1]:
        if item["kind"] == "Deployment":
            spec = item["spec"]["template"]["spec"]
            mounts = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "base-weights"]
            wanted = [{"name": "base-weights", "mountPath": "/base_models", "readOnly": True}]
            assert mounts == (wanted if item["metadata"]["name"] in ("trainer", "worker") else [])
    (files,) = [item["data"] for item in answers[1] if item["metadata"]["name"] == "base-models"]
    assert files["base_models.toml"].strip() == EVERYTHING["baseWeights"]["catalogue"].strip()
    script = (CHART / "files" / "fill_weights.py").read_text(encoding="utf-8")
    assert files["fill_weights.py"] == script


def test_another_release_gets_jobs_of_its_own(tmp_path: Path) -> None:
    names = [
        {item["metadata"]["name"] for item in objects(answer) if item["kind"] == "Job"}
        for answer in tried([{}, {"images": {"tag": "0.2.0"}}, {"dataset": {"replicas": 5}}], tmp_path)
    ]
    assert names[0].isdisjoint(names[1])
    assert names[0] == names[2]


def test_wrong_values_are_refused_by_name(tmp_path: Path) -> None:
    answers = tried([values for values, _ in WRONG], tmp_path)
    faults = [
        (values, answer.get("error", "accepted"))
        for (values, word), answer in zip(WRONG, answers, strict=True)
        if word not in answer.get("error", "")
    ]
    assert faults == []


def test_what_the_chart_sets_cannot_be_set_beside_it(tmp_path: Path) -> None:
    """A variable that stands twice is a riddle, and a secret doesn't belong into values."""
    owned = [
        (pod, entry["name"])
        for pod, template in pods("prod")
        for container in containers(template)
        for entry in container.get("env", ())
    ]
    answers = tried([{pod: {"env": {name: "x"}}} for pod, name in owned], tmp_path)
    assert [variable for variable, answer in zip(owned, answers, strict=True) if "error" not in answer] == []
    assert len(owned) > 60


def test_a_pod_is_not_killed_before_its_calls_have_had_their_grace(tmp_path: Path) -> None:
    given: Values = {pod: {"env": {f"{pod.upper()}_SHUTDOWN_GRACE_S": 90.5}} for pod in (*SERVICES, "gateway")}
    given["worker"] = {"env": {"WORKER_SHUTDOWN_GRACE_S": "90"}, "keda": {"enabled": False}}
    longer = {}
    for values in ({"worker": {"keda": {"enabled": False}}}, given):
        (answer,) = tried([values], tmp_path)
        longer[values is given] = {
            item["metadata"]["name"]: item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            for item in objects(answer)
            if item["kind"] == "Deployment"
        }
    assert longer[False] == {**dict.fromkeys(SERVICES, 30), "gateway": 60, "worker": 120}
    assert longer[True] == {**dict.fromkeys(SERVICES, 111), "gateway": 141, "worker": 200}


def test_notes_warn_of_sessions_that_replicas_do_not_share(tmp_path: Path) -> None:
    fine, warned = tried([{}, {"gateway": {"sessions": {"shared": False}}}], tmp_path)
    assert "WARNING" not in fine["manifests"]["NOTES.txt"]
    assert "gateway.sessions.shared" in warned["manifests"]["NOTES.txt"]


def test_workers_of_a_deployment_go_slowly_when_the_queue_empties(answers: list[list[dict[str, Any]]]) -> None:
    """Kubernetes chooses who goes; slowly, so that most of them idle by then."""
    (scaled,) = [item["spec"] for item in answers[1] if item["kind"] == "ScaledObject"]
    behaviour = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert behaviour["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    assert behaviour["stabilizationWindowSeconds"] == scaled["cooldownPeriod"]
    (target,) = [item for item in answers[1] if (item["kind"], item["metadata"]["name"]) == ("Deployment", "worker")]
    assert "replicas" not in target["spec"]
    assert {"ScaledJob", "ScaledObject"} & {item["kind"] for item in answers[2]} == set()


def _secrets(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for value in node for name in _secrets(value)]
    if not isinstance(node, dict):
        return []
    found = [node["secretName"]] if "secretName" in node else []
    found += [node["secretKeyRef"]["name"]] if "secretKeyRef" in node else []
    found += [entry["name"] for entry in node.get("secretTargetRef", ())]
    return found + [name for value in node.values() for name in _secrets(value)]
