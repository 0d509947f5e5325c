"""Settings: a mistake is named variable by variable before anything starts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.chassis import setting_loading
from services.chassis.addresses import split_host_port
from services.chassis.settings import BaseServiceSettings, service_config
from services.chassis.store_settings import NatsSettings, S3Settings, SqlSettings


class PaintSettings(SqlSettings, S3Settings, NatsSettings, BaseServiceSettings):
    """A service's settings, composed as services do."""

    model_config = service_config("PAINT_")
    brushes: int = 3


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})


def load(monkeypatch: pytest.MonkeyPatch, **environ: str) -> PaintSettings:
    monkeypatch.setattr("os.environ", environ)
    return setting_loading.load(PaintSettings)


def test_defaults_need_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch)
    assert loaded.listen == "127.0.0.1:0"
    assert loaded.brushes == 3
    assert loaded.internal_token is None


def test_every_group_reads_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(
        monkeypatch,
        PAINT_LISTEN="0.0.0.0:8080",
        PAINT_DATABASE_URL="postgresql+psycopg://u@h/d",
        PAINT_S3_ACCESS_KEY="key",
        PAINT_S3_SECRET_KEY="hidden",
        PAINT_NATS_URL="nats://h:4222",
        PAINT_BRUSHES="9",
        OTHER_BRUSHES="1",
    )
    assert (loaded.listen, loaded.database_url, loaded.nats_url, loaded.brushes) == (
        "0.0.0.0:8080", "postgresql+psycopg://u@h/d", "nats://h:4222", 9,
    )  # fmt: skip
    assert loaded.s3_secret_key.get_secret_value() == "hidden"
    assert "hidden" not in repr(loaded)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAINT_LISTEN", "8080"),
        ("PAINT_LISTEN", "host:99999"),
        ("PAINT_METRICS_LISTEN", "nowhere"),
        ("PAINT_DATABASE_URL", "mysql://x"),
        ("PAINT_DATABASE_URL", "sqlite:///x.db"),
        ("PAINT_S3_ENDPOINT", "http://localhost:9000"),
        ("PAINT_S3_BUCKET", "UPPER_case"),
        ("PAINT_NATS_URL", "localhost:4222"),
        ("PAINT_LOG_LEVEL", "LOUD"),
        ("PAINT_SHUTDOWN_GRACE_S", "-1"),
        ("PAINT_BRUSHES", "many"),
        ("PAINT_BRUSHS", "3"),
    ],
)
def test_a_wrong_variable_is_named_and_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        load(monkeypatch, **{name: value})
    assert ended.value.code == 2
    assert f"  {name}: " in capsys.readouterr().err


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load(monkeypatch, PAINT_BRUSHES="many", PAINT_LISTEN="x", PAINT_TYPO="1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4


def test_variables_that_kubernetes_adds_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(
        monkeypatch,
        PAINT_PORT="tcp://10.0.0.1:80",
        PAINT_SERVICE_HOST="10.0.0.1",
        PAINT_SERVICE_PORT_GRPC="80",
        PAINT_PORT_80_TCP_ADDR="10.0.0.1",
    )
    assert loaded.brushes == 3


def test_settings_do_not_change_after_the_start() -> None:
    loaded = PaintSettings()
    with pytest.raises(ValidationError):
        loaded.brushes = 4


@pytest.mark.parametrize(
    ("text", "parts"), [("a:1", ("a", 1)), ("[::1]:80", ("::1", 80)), ("0.0.0.0:0", ("0.0.0.0", 0))]
)
def test_host_and_port(text: str, parts: tuple[str, int]) -> None:
    assert split_host_port(text) == parts
