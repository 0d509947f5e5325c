"""Envoy's configuration: the golden file, and what must hold whatever the settings are."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from pydantic import SecretStr, ValidationError

from gateway import envoy_config
from gateway.envoy_filters import api_descriptors
from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.settings import Settings

GOLDEN = Path(__file__).parents[2] / "golden" / "envoy.json"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)


def _full() -> Settings:
    return Settings(
        public_listen="0.0.0.0:8443",
        admin_listen="127.0.0.1:9901",
        dataset_target="dataset:50051",
        tagger_target="tagger:50051",
        trainer_target="trainer:50051",
        registry_target="registry:50051",
        notifier_target="notifier:50051",
        internal_token=SecretStr("inside"),
        tls_cert_file=Path("/tls/tls.crt"),
        tls_key_file=Path("/tls/tls.key"),
        jwks_uri="https://issuer.example/keys",
        jwt_issuer="https://issuer.example",
        jwt_audiences=["fiveshot"],
        cors_origins=["https://app.example"],
    )


def _filters(settings: Settings) -> list[dict[str, Any]]:
    return _http_filters(envoy_config.render(settings))


def _http_filters(config: dict[str, Any]) -> list[dict[str, Any]]:
    listener = config["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    found = manager["http_filters"]
    assert isinstance(found, list)
    return found


def _shorten(part: object) -> None:
    """Names the API's descriptors in place of them: of the filter, and of the routes that take bytes."""
    if isinstance(part, dict):
        if "proto_descriptor_bin" in part:
            part["proto_descriptor_bin"] = "the API's descriptors"
        if "inline_bytes" in part:
            part["inline_bytes"] = "a file of the console"
        if str(part.get("path", "")).startswith("/assets/"):
            part["path"] = "/assets/" + part["path"].rpartition(".")[2]
        for each in part.values():
            _shorten(each)
    elif isinstance(part, list):
        for each in part:
            _shorten(each)


def test_the_whole_configuration_is_the_golden_one() -> None:
    """`UPDATE_GOLDEN=1 pytest tests/unit/gateway` writes the file anew; read the difference before committing it."""
    config = envoy_config.render(_full())
    _shorten(config)
    text = json.dumps(config, indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_order_of_filters_keeps_strangers_out_first() -> None:
    names = [each["name"] for each in _filters(_full())]
    assert names == [
        "draining", "envoy.filters.http.cors", "grpc_web", "address_limit", "envoy.filters.http.jwt_authn", "edge",
        "unknown_limit", "ext_authz", "caller_limit", "body_limit", "json_check", "raw_bodies",
        "grpc_json_transcoder", "router",
    ]  # fmt: skip
    unlimited = Settings(
        address_limit_per_second=0, unknown_limit_per_second=0, rate_limit_per_second=0, check_json=False
    )
    assert [each["name"] for each in _filters(unlimited)] == [
        "draining", "grpc_web", "edge", "ext_authz", "body_limit", "raw_bodies", "grpc_json_transcoder", "router",
    ]  # fmt: skip


def test_the_worker_service_is_never_routed() -> None:
    text = json.dumps(envoy_config.render(_full())["static_resources"]["listeners"][0]["filter_chains"])
    transcoder = next(each for each in _filters(_full()) if each["name"] == "grpc_json_transcoder")["typed_config"]
    assert sorted(transcoder["services"]) == sorted(PUBLIC_SERVICES)
    assert "WorkerService/" not in text


def test_every_public_service_is_in_the_descriptors() -> None:
    transcoder = next(each for each in _filters(_full()) if each["name"] == "grpc_json_transcoder")["typed_config"]
    bundle = FileDescriptorSet.FromString(base64.b64decode(transcoder["proto_descriptor_bin"]))
    offered = {f"{file.package}.{service.name}" for file in bundle.file for service in file.service}
    assert set(PUBLIC_SERVICES) <= offered
    assert {f"google.rpc.{name}" for name in ("ErrorInfo", "BadRequest")} <= {
        f"{file.package}.{message.name}" for file in api_descriptors().file for message in file.message_type
    }


def test_the_written_file_is_for_its_owner_only(tmp_path: Path) -> None:
    envoy_config.write(_full(), tmp_path / "envoy.json")
    assert (tmp_path / "envoy.json").stat().st_mode & 0o077 == 0
    assert json.loads((tmp_path / "envoy.json").read_text()) == envoy_config.render(_full())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"tls_cert_file": "/a"}, "go together"),
        ({"jwks_file": "/a"}, "jwt_issuer is needed"),
        ({"jwks_file": "/a", "jwks_uri": "https://a/b", "jwt_issuer": "x"}, "not both"),
        ({"jwks_uri": "ftp://a"}, "jwks_uri"),
        ({"dataset_target": "dataset"}, "is not host:port"),
        ({"public_listen": "8080"}, "is not host:port"),
        ({"rate_limit_per_second": -1}, "rate_limit_per_second"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings(**values)
