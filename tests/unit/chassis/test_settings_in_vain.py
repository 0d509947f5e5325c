"""Settings that cannot mean what the operator wants: nobody would hear them, or nothing could be done in their time."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.supervisor import certificates
from services.chassis.setting_loading import load
from tools.settings_table import PROCESSES, variables

TOO_SHORT = {
    "TRAINER_LEASE_SECONDS": "0.1",
    "TRAINER_SWEEP_SECONDS": "0.01",
    "TRAINER_SWEEP_AGE_SECONDS": "0",
    "TRAINER_METRICS_PAUSE_SECONDS": "0.01",
    "TRAINER_UPLOAD_IDLE_S": "0.1",
    "TRAINER_KEEPALIVE_S": "1",
    "TAGGER_LEASE_S": "0.1",
    "WORKER_ACQUIRE_WAIT_SECONDS": "0",
    "WORKER_HEARTBEAT_SECONDS": "0.001",
    "WORKER_STALL_SECONDS": "0.1",
    "DATASET_DECODE_WALL_S": "0.01",
    "DATASET_UPLOAD_IDLE_S": "0.1",
    "REGISTRY_AUDIT_KEEP_DAYS": "0.0001",
    "NOTIFIER_ATTEMPT_TIMEOUT_S": "0.01",
    "NOTIFIER_SWEEP_INTERVAL_S": "0.01",
    "GATEWAY_STALLED_S": "0.01",
    "GATEWAY_SESSION_HOURS": "0.0001",
}
"""Times in which nothing could be done."""

POSTGRES = "DATABASE_URL=postgresql+psycopg://u@h/d"
HEARD_BY_NOBODY = [
    ("dataset", "OTLP_SECURE=true", "OTLP_SECURE", "OTLP_ENDPOINT"),
    ("dataset", "OTLP_HEADERS=a=b", "OTLP_HEADERS", "OTLP_ENDPOINT"),
    ("dataset", "TRACE_SHARE=0.1", "TRACE_SHARE", "OTLP_ENDPOINT"),
    ("gateway", "OTLP_ENDPOINT= TRACE_SHARE=0", "TRACE_SHARE", "OTLP_ENDPOINT"),
    ("dataset", "OTLP_ENDPOINT=a:1 OTLP_CA_FILE=CA", "OTLP_CA_FILE", "OTLP_SECURE=true"),
    ("dataset", "S3_CA_FILE=CA", "S3_CA_FILE", "S3_SECURE=true"),
    ("dataset", "S3_ROLE=r", "S3_ROLE", "S3_IDENTITY=web"),
    ("dataset", "S3_ROLE=r S3_IDENTITY=aws", "S3_ROLE", "S3_IDENTITY=web"),
    ("dataset", "S3_TOKEN_FILE=CA", "S3_TOKEN_FILE", "S3_IDENTITY=web"),
    ("dataset", "S3_IDENTITY_URL=https://a", "S3_IDENTITY_URL", "S3_IDENTITY=web"),
    ("dataset", "S3_IDENTITY=aws S3_ACCESS_KEY=a S3_SECRET_KEY=b", "S3_SECRET_KEY", "S3_IDENTITY=keys"),
    ("dataset", "S3_PUBLIC_SECURE=true", "S3_PUBLIC_SECURE", "S3_PUBLIC_ENDPOINT"),
    ("dataset", "NATS_USER=a NATS_PASSWORD=b", "NATS_PASSWORD", "NATS_URL"),
    ("dataset", "NATS_CA_FILE=CA", "NATS_CA_FILE", "NATS_URL"),
    ("dataset", "NATS_MAX_MB=9", "NATS_MAX_MB", "NATS_URL"),
    ("dataset", "DATABASE_SSLMODE=require", "DATABASE_SSLMODE", "DATABASE_URL"),
    ("dataset", f"{POSTGRES} DATABASE_CA_FILE=CA", "DATABASE_CA_FILE", "DATABASE_SSLMODE=verify-full"),
    ("dataset", f"{POSTGRES}?sslmode=prefer DATABASE_SSLMODE=require DATABASE_CA_FILE=CA", "DATABASE_CA_FILE",
     "DATABASE_SSLMODE=verify-full"),
    ("tagger", "CAPTIONER_API_KEY=k", "CAPTIONER_API_KEY", "TAGGERS_DIR"),
    ("worker", "PRETEND_SECONDS=1", "PRETEND_SECONDS", "PRETEND=true"),
    ("gateway", "OIDC_CLIENT_ID=a", "OIDC_CLIENT_ID", "OIDC_ISSUER"),
    ("gateway", "OIDC_CLIENT_SECRET_FILE=a OIDC_NAME=b", "OIDC_NAME", "OIDC_ISSUER"),
    ("gateway", "JWT_ROLE_CLAIM=a", "JWT_ROLE_CLAIM", "JWKS_FILE"),
    ("gateway", "SESSION_HOURS=1", "SESSION_HOURS", "SESSIONS_DIR"),
    ("gateway", "ADDRESS_LIMIT_PER_SECOND=0 ADDRESS_LIMIT_BURST=9", "ADDRESS_LIMIT_BURST",
     "ADDRESS_LIMIT_PER_SECOND above 0"),
    ("gateway", "UNKNOWN_LIMIT_PER_SECOND=0 UNKNOWN_LIMIT_BURST=9", "UNKNOWN_LIMIT_BURST",
     "UNKNOWN_LIMIT_PER_SECOND above 0"),
    ("gateway", "RATE_LIMIT_PER_SECOND=0 RATE_LIMIT_BURST=9", "RATE_LIMIT_BURST", "RATE_LIMIT_PER_SECOND above 0"),
    ("gateway", "ENVOY_ADMIN_SOCKET=/tmp/a ADMIN_LISTEN=a:1", "ENVOY_ADMIN_SOCKET", "ADMIN_LISTEN left empty"),
    ("gateway", "ENVOY_ADMIN_SOCKET=/tmp/a", "ENVOY_ADMIN_SOCKET", "ENVOY_METRICS_LISTEN"),
]  # fmt: skip
"""Of a process: what is given, which of it nobody hears, and what would have to be given too."""

HEARD = [
    ("dataset", "OTLP_ENDPOINT=a:1 OTLP_SECURE=true OTLP_CA_FILE=CA OTLP_HEADERS=a=b"),
    ("dataset", "S3_SECURE=true S3_CA_FILE=CA S3_ACCESS_KEY=a S3_SECRET_KEY=b"),
    ("dataset", "S3_IDENTITY=web S3_IDENTITY_URL=https://a S3_TOKEN_FILE=CA S3_ROLE=r S3_CA_FILE=CA"),
    ("dataset", "S3_IDENTITY=aws S3_IDENTITY_URL=https://a"),
    ("dataset", "NATS_URL=nats://a:1 NATS_USER=a NATS_PASSWORD=b NATS_CA_FILE=CA NATS_MAX_MB=9"),
    ("dataset", f"{POSTGRES}?sslmode=verify-full DATABASE_CA_FILE=CA"),
    ("worker", "PRETEND=true PRETEND_SECONDS=1"),
    ("gateway", "OTLP_ENDPOINT=a:1 TRACE_SHARE=0.5 RATE_LIMIT_BURST=9"),
    ("gateway", "OTLP_ENDPOINT= OTLP_SECURE=false TRACE_SHARE=1 ADDRESS_LIMIT_PER_SECOND=0"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of certificates."""
    return certificates.make(tmp_path_factory.mktemp("tls"), "127.0.0.1").authority


@pytest.fixture(autouse=True)
def nothing_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in PROCESSES:
        for name in variables(process.settings):
            monkeypatch.delenv(name, raising=False)


def read(title: str, given: str, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (process,) = (each for each in PROCESSES if each.title == title)
    for each in given.split():
        name, _, value = each.partition("=")
        monkeypatch.setenv(f"{title.upper()}_{name}", str(authority) if value == "CA" else value)
    load(process.settings, {})


@pytest.mark.parametrize(("title", "given", "idle", "needs"), HEARD_BY_NOBODY)
def test_a_setting_that_nobody_would_hear_ends_the_start(
    title: str,
    given: str,
    idle: str,
    needs: str,
    authority: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(title, given, authority, monkeypatch)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[1:]
    said, _, wanted = line.partition(" no effect without ")
    assert f"{title.upper()}_{idle} ha" in said
    assert f"{title.upper()}_{needs}" in wanted
    assert "or leave" in wanted


@pytest.mark.parametrize(("title", "given"), HEARD)
def test_settings_that_belong_together_are_taken(
    title: str, given: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(title, given, authority, monkeypatch)


@pytest.mark.parametrize("name", TOO_SHORT)
def test_a_time_in_which_nothing_can_be_done_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (process,) = (each for each in PROCESSES if name in variables(each.settings))
    monkeypatch.setenv(name, TOO_SHORT[name])
    with pytest.raises(SystemExit):
        load(process.settings, {})
    assert f"  {name}: Input should be greater than or equal to " in capsys.readouterr().err
