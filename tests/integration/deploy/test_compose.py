"""The compose files: valid by the specification, and whole, like the manifests."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from gateway import inside
from services.chassis.addresses import split_host_port
from services.chassis.settings import BaseServiceSettings
from tests.integration.deploy.manifests import DEPLOY, ROOT, SETTINGS, loaded, module_of

VALUES = {
    "FIVESHOT_POSTGRES_PASSWORD": "secret",
    "FIVESHOT_S3_ACCESS_KEY": "access",
    "FIVESHOT_S3_SECRET_KEY": "secret",
    "FIVESHOT_NATS_PASSWORD": "secret",
    "FIVESHOT_PAGE_TOKEN_KEY": "a key of the tests",
    "FIVESHOT_KEYS_FOLDER": "./keys",
    "FIVESHOT_TAGGERS_FOLDER": "./taggers",
    "FIVESHOT_OTLP_ENDPOINT": "collector:4317",
    "FIVESHOT_TRACE_SHARE": "0.1",
}
_REFERENCE = re.compile(r"\$\{([A-Z_0-9]+)(:[?-][^}]*)?\}")


def compose() -> dict[str, Any]:
    """The file with its variables filled in and YAML's merges done."""
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert {match[1] for match in _REFERENCE.finditer(text)} == set(VALUES)
    filled: dict[str, Any] = yaml.safe_load(_REFERENCE.sub(lambda match: VALUES[match[1]], text))
    return filled


def as_container(name: str, service: dict[str, Any]) -> dict[str, Any]:
    """A compose service in the words of Kubernetes."""
    return {"name": name, "image": service["image"], "args": service.get("command", [])}


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml"])
def test_the_file_follows_the_specification(file: str) -> None:
    document = compose() if file == "compose.yaml" else yaml.safe_load((DEPLOY / file).read_text(encoding="utf-8"))
    assert set(PyCompose.from_yaml(yaml.safe_dump(document)).service_names()) == set(document["services"])


def test_the_gpu_file_changes_only_services_that_there_are() -> None:
    override = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
    services = compose()["services"]
    assert set(override["services"]) == {"worker"}
    assert set(override["services"]["worker"]["environment"]) <= set(services["worker"]["environment"])


def test_every_part_of_the_suite_runs_with_settings_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    services = compose()["services"]
    ports: dict[str, int] = {}
    read = {}
    for name, service in services.items():
        module = module_of(as_container(name, service)) if name != "inside" else None
        if module is None:
            continue
        settings = loaded(module, service["environment"], monkeypatch)
        assert isinstance(settings, BaseServiceSettings)
        read[name] = settings
        ports[name] = split_host_port(settings.listen)[1]
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][-1] == f"127.0.0.1:{ports[name]}"
    assert {module_of(as_container(name, services[name])) for name in read} == set(SETTINGS)
    for name, settings in read.items():
        for field, target in settings.model_dump().items():
            if field.endswith("_target") and field in settings.model_fields_set:
                host, port = split_host_port(target)
                assert ports[host] == port, f"{name} calls {target}"


def test_references_within_the_file_lead_somewhere() -> None:
    document = compose()
    services, volumes = document["services"], set(document["volumes"])
    used = set()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("./config/"):
                assert (DEPLOY / source).is_file(), f"{name} mounts {source}"
            elif not source.startswith("."):
                used.add(source)
    assert used == volumes


def test_processes_of_ours_are_hardened_and_only_the_gateway_is_reached_from_outside() -> None:
    services = compose()["services"]
    for name, service in services.items():
        if service["image"].startswith("fiveshot-") and name not in ("envoy-config", "inside"):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "gateway": ["127.0.0.1:7437:7437"]
    }


def test_the_example_of_the_variables_is_complete_and_empty_of_secrets() -> None:
    lines = (DEPLOY / "compose.env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(given) == set(VALUES)
    plain = {"FIVESHOT_KEYS_FOLDER", "FIVESHOT_TAGGERS_FOLDER", "FIVESHOT_TRACE_SHARE"}
    assert {name for name, value in given.items() if value} == plain


def test_a_database_is_made_for_each_service_that_has_one() -> None:
    script = (DEPLOY / "config" / "create_databases.sql").read_text(encoding="utf-8")
    made = set(re.findall(r"CREATE DATABASE (\w+);", script))
    urls = [
        value
        for service in compose()["services"].values()
        for name, value in (service.get("environment") or {}).items()
        if name.endswith("_DATABASE_URL")
    ]
    assert {url.rsplit("/", 1)[1] for url in urls} == made
    assert len(urls) == len(made) == 5


def test_images_are_built_for_each_service_from_extras_that_exist() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE))
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, service in compose()["services"].items():
        build = service.get("build")
        if build is None:
            assert not service["image"].startswith("fiveshot-")
            continue
        assert build["target"] in stages, name
        assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        extra = build.get("args", {}).get("EXTRA", "worker")
        assert service["image"] == f"fiveshot-{extra}"
        assert re.search(rf"^{extra} = \[", extras, re.MULTILINE), extra


def test_each_process_has_the_folder_of_its_own_token_and_no_other() -> None:
    services = compose()["services"]
    made = {mount.split(":")[0] for mount in services["inside"]["volumes"]}
    assert made == {f"inside-{name}" for name in (*inside.HOLDERS, "announced")}
    processes = {"authz": "gateway", "envoy-config": "envoy"}
    for name, service in services.items():
        if name == "inside" or not service["image"].startswith("fiveshot-"):
            continue
        mounts = [each for each in service["volumes"] if each.startswith("inside-")]
        assert mounts == [f"inside-{processes.get(name, name)}:/inside:ro"]
        assert service["depends_on"]["inside"] == {"condition": "service_completed_successfully"}
        given = {key.partition("_")[2]: value for key, value in service["environment"].items()}
        assert given["INTERNAL_TOKEN_FILE"] == "/inside/token"
        assert given.get("CALLERS_FILE", "") == ("/inside/callers.json" if name in inside.MAY_CALL else "")
        assert "INTERNAL_TOKEN" not in given
