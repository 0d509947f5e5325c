"""Every variable of every process with wrong values: the start ends with a line that names the variable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
from _pytest.mark.structures import ParameterSet
from annotated_types import Ge, Gt
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from gateway.settings import Settings as GatewaySettings
from services.chassis.setting_loading import load
from services.dataset.settings import Settings as DatasetSettings
from services.notifier.settings import Settings as NotifierSettings
from services.registry.settings import Settings as RegistrySettings
from tools.settings_table import PROCESSES, variables

HUGE = "9" * 40
WRITTEN = ("PORT_FILE",)
# Refused with such a line when they are put to use, which a test of the process shows; or made by the process.
LATER = ("BUDGETS_FILE", "ACCESS_LOG_FILE")
# Envoy reads them, in a container of its own, or authz whenever it needs them.
ELSEWHERE = ("TLS_CERT_FILE", "TLS_KEY_FILE", "JWKS_FILE", "API_KEYS_FILE", "OIDC_CLIENT_SECRET_FILE")
DATABASES = [
    "sqlite+aiosqlite:///",
    "sqlite+aiosqlite:////tmp",
    "sqlite+aiosqlite:////dev/null/folder/file.db",
    "sqlite+aiosqlite:////etc/passwd",
    "postgresql+psycopg://u@h/d?sslmode=banana",
    "postgresql+psycopg://u@h/d?nonsense=1",
    "postgresql+psycopg://u@300.1.1.1/d",
]
FURTHER = {
    "DATASET_S3_BUCKET": ["a..b", "a.-b", "192.168.1.1", "Upper", "x", ""],
    "DATASET_S3_REGION": ["eu west", "eu\x01"],
    "DATASET_S3_IDENTITY_URL": ["https://", "ftp://host", "http://ho st", "https://host:0"],
    "DATASET_S3_ACCESS_KEY": ["k\u00e9y"],
    "TAGGER_CAPTIONER_API_KEY": ["two\nlines"],
    "WORKER_WORKER_ID": ["", "a\x1bb"],
    "WORKER_DEVICE": ["gpu", "cuda:", ""],
    "GATEWAY_ACCESS_LOG_FILE": [""],
    "GATEWAY_ENVOY_ADMIN_SOCKET": ["", "/" + "long" * 30],
    "GATEWAY_JWKS_URI": ["https://", "id.example.com", "https://id.example.com/a b"],
    "GATEWAY_JWT_PROJECTS_CLAIM": [""],
    "GATEWAY_JWT_ROLE_CLAIM": ["", "a..b", ".a"],
    "GATEWAY_OIDC_NAME": ["a\x1bb", "long" * 20],
}
TOGETHER: list[tuple[type[BaseSettings], dict[str, str], str]] = [
    (DatasetSettings, {"S3_ACCESS_KEY": "a"}, "DATASET_S3_ACCESS_KEY and DATASET_S3_SECRET_KEY go together"),
    (DatasetSettings, {"S3_SECRET_KEY": "a"}, "DATASET_S3_ACCESS_KEY and DATASET_S3_SECRET_KEY go together"),
    (DatasetSettings, {"NATS_USER": "a"}, "DATASET_NATS_USER and DATASET_NATS_PASSWORD go together"),
    (DatasetSettings, {"NATS_REPLICAS": "2"}, "DATASET_NATS_REPLICAS: is even"),
    (DatasetSettings, {"MIN_SIDE": "100", "MAX_PIXELS": "9999"}, "DATASET_MIN_SIDE has more than DATASET_MAX_PIXELS"),
    (DatasetSettings, {"IMAGE_EVENTS_QUIET_S": "60"}, "DATASET_IMAGE_EVENTS_LONGEST_S must be at least DATASET_IMAGE"),
    (NotifierSettings, {"RETRY_FIRST_S": "9999"}, "NOTIFIER_RETRY_LONGEST_S must be at least NOTIFIER_RETRY_FIRST_S"),
    (GatewaySettings, {"JWT_ISSUER": "a"}, "GATEWAY_JWT_ISSUER and GATEWAY_JWT_AUDIENCES need GATEWAY_JWKS_FILE"),
    (GatewaySettings, {"JWT_AUDIENCES": "a"}, "GATEWAY_JWT_ISSUER and GATEWAY_JWT_AUDIENCES need GATEWAY_JWKS_FILE"),
    (GatewaySettings, {"JWKS_URI": "https://a"}, "GATEWAY_JWT_ISSUER is needed with GATEWAY_JWKS_FILE"),
    (GatewaySettings, {"CORS_ORIGINS": "*"}, "GATEWAY_CORS_ORIGINS: '*' is no address"),
    (GatewaySettings, {"CORS_ORIGINS": "https://*.a.com"}, "GATEWAY_CORS_ORIGINS: 'https://*.a.com' is no origin"),
    (GatewaySettings, {"CORS_ORIGINS": "https://a.com/b"}, "GATEWAY_CORS_ORIGINS: 'https://a.com/b' is no origin"),
]


@pytest.fixture(autouse=True)
def nothing_else_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in PROCESSES:
        for name in variables(process.settings):
            monkeypatch.delenv(name, raising=False)


def given(settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process cannot do without."""
    for name, field in variables(settings).items():
        if field.is_required():
            monkeypatch.setenv(name, "127.0.0.1:1")


def wrong_values(name: str, field: FieldInfo) -> list[str]:
    """Values that cannot be meant, by what the field is."""
    kinds = (field.annotation, *get_args(field.annotation))
    if bool in kinds:
        return ["perhaps", ""]
    if int in kinds or float in kinds:
        return ["", "many", "nan", "-1", "1e99" if float in kinds else HUGE]
    if name.endswith("ALLOWED_NETWORKS"):
        return ["[1", "nonsense", "10.0.0.0/99"]
    if list in kinds or kinds[0] == list[str]:
        return ["[1", "[[]]"]
    if name.endswith(("_TARGET", "LISTEN")):
        nobody = ["host:0"] if name.endswith("_TARGET") else []
        return [
            "localhost",
            ":80",
            "host:99999",
            "ho st:80",
            "http://host:80",
            "999.1.1.1:80",
            "1.2.3:80",
            "[::g]:1",
            *nobody,
        ]
    if name.endswith(("SESSIONS_DIR", "SCRATCH_DIR", "TAGGERS_DIR")):
        return ["/dev/null"] if name.endswith("TAGGERS_DIR") else ["/dev/null", "/dev/null/folder"]
    if name in FURTHER:
        return FURTHER[name]
    if name.endswith("_FILE") and not name.endswith((*LATER, *ELSEWHERE)):
        return ["/does/not/exist", "/tmp"] if name.endswith(WRITTEN) else ["/does/not/exist"]
    if name.endswith("DATABASE_URL"):
        return [
            "",
            "postgres://u@h/d",
            "postgresql+psycopg://u@h",
            "postgresql+psycopg://u@h:x/d",
            "sqlite:///x",
            *DATABASES,
        ]
    if name.endswith("NATS_URL"):
        return ["localhost:4222", "nats://", "nats://ho st:1", "nats://host:99999", "nats://a:1,b:2"]
    if name.endswith(("S3_ENDPOINT", "S3_PUBLIC_ENDPOINT")):
        return ["http://host:9000", "nonsense words", "host:99999", "host/bucket", "host:0"]
    if name.endswith("INTERNAL_TOKEN"):
        return [" ", "two words", "t\u00f6ken"]
    return []


def cases() -> list[ParameterSet]:
    """Each variable with each wrong value; of what all processes share, that of the first."""
    found, seen = [], set()
    for process in PROCESSES:
        for name, field in variables(process.settings).items():
            rule = name.partition("_")[2], str(field.annotation), str(field.metadata)
            if rule not in seen:
                found += [pytest.param(process.settings, name, value) for value in wrong_values(name, field)]
            seen.add(rule)
    return found


@pytest.mark.parametrize(("settings", "name", "value"), cases())
def test_a_wrong_value_ends_the_start_with_a_line_that_names_its_variable(
    settings: type[BaseSettings],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(settings, monkeypatch)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(settings, {})
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()[1:]
    assert any(name in line for line in lines)
    assert all(line.startswith("  ") for line in lines)


def test_every_number_has_a_bound_below() -> None:
    without = [
        name
        for process in PROCESSES
        for name, field in variables(process.settings).items()
        if field.annotation in (int, float) and not any(isinstance(rule, Ge | Gt) for rule in field.metadata)
    ]
    assert without == []


@pytest.mark.parametrize(("settings", "given_values", "line"), TOGETHER)
def test_values_that_do_not_go_together_end_the_start(
    settings: type[BaseSettings],
    given_values: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given(settings, monkeypatch)
    for name, value in given_values.items():
        monkeypatch.setenv(f"{settings.model_config['env_prefix']}{name}", value)
    with pytest.raises(SystemExit):
        load(settings, {})
    assert line in capsys.readouterr().err


def test_an_empty_path_is_never_the_folder_that_the_process_was_started_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for process in PROCESSES:
        for name, field in variables(process.settings).items():
            if Path not in (field.annotation, *get_args(field.annotation)):
                continue
            given(process.settings, monkeypatch)
            with monkeypatch.context() as patch:
                patch.setenv(name, " ")
                if type(None) in get_args(field.annotation):
                    loaded = load(process.settings, {})
                    assert getattr(loaded, name.removeprefix(str(loaded.model_config["env_prefix"])).lower()) is None
                else:
                    with pytest.raises(SystemExit):
                        load(process.settings, {})


@pytest.mark.parametrize("special", ["pipe", "folder", "nothing"])
def test_a_token_is_read_from_a_plain_file_alone(
    special: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A pipe would keep the process waiting for a writer."""
    if special == "pipe":
        os.mkfifo(tmp_path / special)
    elif special == "folder":
        (tmp_path / special).mkdir()
    given(RegistrySettings, monkeypatch)
    monkeypatch.setenv("REGISTRY_INTERNAL_TOKEN_FILE", str(tmp_path / special))
    with pytest.raises(SystemExit):
        load(RegistrySettings, {})
    assert "REGISTRY_INTERNAL_TOKEN_FILE: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("https://a", ["https://a"]),
        ("https://a, https://b", ["https://a", "https://b"]),
        ('["https://a"]', ["https://a"]),
    ],
)
def test_a_list_is_json_or_has_commas(text: str, items: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given(GatewaySettings, monkeypatch)
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", text)
    assert load(GatewaySettings, {}).cors_origins == items


def test_what_is_said_of_several_settings_together_has_their_variables_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given(GatewaySettings, monkeypatch)
    file = tmp_path / "tls.crt"
    file.touch()
    monkeypatch.setenv("GATEWAY_TLS_CERT_FILE", str(file))
    with pytest.raises(SystemExit):
        load(GatewaySettings, {})
    assert "  GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE go together" in capsys.readouterr().err


def test_a_file_without_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given(RegistrySettings, monkeypatch)
    file = tmp_path / "token"
    file.write_text("\n")
    monkeypatch.setenv("REGISTRY_INTERNAL_TOKEN_FILE", str(file))
    with pytest.raises(SystemExit):
        load(RegistrySettings, {})
    assert f"REGISTRY_INTERNAL_TOKEN_FILE: {file}: is empty" in capsys.readouterr().err
