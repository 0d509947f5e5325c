"""Envoy begins traces, goes on with those of callers, and shows its own metrics at a door that shows nothing else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from gateway import envoy_config
from gateway.settings import Settings
from gateway.supervisor import certificates, servers
from tests.fixtures.otlp_receiver import Receiver, receiver
from tests.fixtures.patience import until
from tests.fixtures.processes import running

TRACE, UNWANTED = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"
PARENT = "00f067aa0ba902b7"


async def test_traces_go_to_a_collector_over_tls_as_callers_and_chance_decide(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path / "tls", servers.HOST)
    key, certificate, authority = (file.read_bytes() for file in (pair.key, pair.certificate, pair.authority))
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
    with receiver(credentials) as collector:
        given: dict[str, Any] = {
            "otlp_endpoint": collector.target,
            "otlp_secure": True,
            "otlp_ca_file": pair.authority,
            "otlp_cert_file": pair.certificate,
            "otlp_key_file": pair.key,
            "otlp_headers": SecretStr("X-Tenant=cats, authorization=Bearer abc=="),
            "trace_share": 0.0,
        }
        async with _gateway(tmp_path, **given) as public:
            await _ask(public, "/v1/chance?x-api-key=secret")
            await _ask(public, "/v1/wanted?x-api-key=secret", traceparent=f"00-{TRACE}-{PARENT}-01")
            await _ask(public, "/v1/unwanted", traceparent=f"00-{UNWANTED}-{PARENT}-00")
            for path in ("/healthz", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
                await _ask(public, path, traceparent=f"00-{TRACE}-{PARENT}-01")
            await until(lambda: _ingress(collector), what="the span of the call that a caller traces")
    assert {(span.trace, span.name, span.parent) for span in _ingress(collector)} == {(TRACE, "/v1/wanted", PARENT)}
    assert {span.trace for span in collector.spans} == {TRACE}
    assert "secret" not in str([span.attributes for span in collector.spans])
    assert {(headers["x-tenant"], headers["authorization"]) for headers in collector.headers} == {
        ("cats", "Bearer abc==")
    }


async def test_traces_of_callers_can_be_left_out_and_any_request_id_is_traced(tmp_path: Path) -> None:
    with receiver() as collector:
        async with _gateway(tmp_path, otlp_endpoint=collector.target, trace_callers=False) as public:
            answer = await _ask(public, "/v1/mine", traceparent=f"00-{TRACE}-{PARENT}-01", x_request_id="mine-1")
            assert answer.headers["x-request-id"] == "mine-1"
            await until(lambda: _ingress(collector), what="the span")
    (span,) = _ingress(collector)
    assert (span.parent, span.attributes["fiveshot.request_id"]) == ("", "mine-1")
    assert span.trace != TRACE


@pytest.mark.parametrize("admin", ["socket", "port"])
async def test_the_door_for_metrics_shows_them_and_nothing_else(tmp_path: Path, admin: str) -> None:
    door, port = servers.free_ports(2)
    socket = servers.short_socket(tmp_path, "admin.sock")
    given: dict[str, Any] = {"envoy_metrics_listen": f"{servers.HOST}:{door}"}
    given |= {"admin_listen": f"{servers.HOST}:{port}"} if admin == "port" else {"envoy_admin_socket": socket}
    async with _gateway(tmp_path, **given) as public:
        await _ask(public, "/v1/anything")
        async with httpx.AsyncClient(base_url=f"http://{servers.HOST}:{door}") as http:
            page = await http.get("/metrics")
            assert page.headers["content-type"].startswith("text/plain")
            for path in (
                "/metrics?filter=ssl",
                "/",
                "/stats",
                "/config_dump",
                "/certs",
                "/quitquitquit",
                "/metrics/../config_dump",
            ):
                assert (await http.get(path)).status_code == 404, path
            for verb in ("POST", "PUT", "DELETE"):
                assert (await http.request(verb, "/metrics")).status_code == 404
            assert (await http.post("/healthcheck/fail")).status_code == 404
        if admin == "socket":
            assert socket.stat().st_mode & 0o777 == 0o600
        families = {family.name: family for family in text_string_to_metric_families(page.text)}
        labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
        # Buckets come with the first flush, seconds later.
        assert labels - {"le"} == {
            "envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_response_code_class",
            "envoy_local_http_ratelimit_prefix",
        }  # fmt: skip
        assert len(page.text) < 64 * 1024
        (count,) = (sample for sample in families["envoy_http_downstream_rq"].samples if sample.name.endswith("_total"))
        assert count.value >= 1
    socket.unlink(missing_ok=True)


def _ingress(collector: Receiver) -> list[Any]:
    return [span for span in collector.spans if span.kind == 2]


async def _ask(public: str, path: str, **headers: str) -> httpx.Response:
    """Nobody is behind this gateway: every call is refused, and has a span all the same."""
    async with httpx.AsyncClient() as http:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http.get(f"http://{public}{path}", headers=named)


class _gateway:  # noqa: N801  (read as a function)
    """An Envoy alone, until the end of the block."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (port,) = servers.free_ports(1)
        self._public = f"{servers.HOST}:{port}"
        made = Settings(public_listen=self._public, access_log_file=str(folder / "access.log"), **settings)
        config = envoy_config.render(made)
        # Nobody waits five seconds for a batch of spans.
        layer = {"name": "test", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 200}}
        file = folder / "envoy.json"
        file.write_text(json.dumps({**config, "layered_runtime": {"layers": [layer]}}), encoding="utf-8")
        self._running = running(servers.envoy(file, ports={"listener": port}, data_dir=folder))

    async def __aenter__(self) -> str:
        await asyncio.to_thread(self._running.__enter__)
        return self._public

    async def __aexit__(self, *error: Any) -> None:
        await asyncio.to_thread(self._running.__exit__, None, None, None)
