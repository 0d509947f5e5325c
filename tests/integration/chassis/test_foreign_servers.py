"""Servers that others run: PostgreSQL, NATS and S3 with TLS, identities and several addresses, each the real one."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gateway.supervisor import certificates, servers
from gateway.supervisor.certificates import Certificates
from services.chassis.cloud_events import event_subject
from services.chassis.errors import DomainError, Internal, NotFound, Unavailable
from services.chassis.nats_events import EventBus
from services.chassis.s3 import ObjectStore
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.chassis.store_settings import NatsSettings, S3Settings, SqlSettings
from tests.fixtures.identities import giving_identities
from tests.fixtures.nats_cluster import running_cluster
from tests.fixtures.patience import scaled, until
from tests.fixtures.postgres import USER, admin, prepared_postgres
from tests.fixtures.processes import running
from tests.integration.chassis.tables import MIGRATIONS

HOST = servers.HOST


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authority that everyone here trusts, with a certificate of its."""
    return certificates.make(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of somebody else's."""
    return certificates.make(tmp_path_factory.mktemp("stranger"), HOST)


@pytest.fixture(scope="module")
def postgres_port(pair: Certificates) -> Iterator[int]:
    """The port of a PostgreSQL that speaks TLS only."""
    (port,) = servers.free_ports(1)
    with prepared_postgres(tls=pair, port=port) as spec, running(spec):
        with closing(admin(spec.data_dir, port)) as connection:
            connection.execute("CREATE ROLE reader LOGIN PASSWORD 'right'")
            for name in ("by_password", "by_certificate"):
                connection.execute(f"CREATE DATABASE {name}".encode())
            connection.execute("ALTER DATABASE by_password OWNER TO reader")
        yield port


def by_certificate(port: int, pair: Certificates, **changes: Any) -> SqlSettings:
    """Settings of the database that wants a certificate."""
    given: dict[str, Any] = {
        "database_url": f"postgresql+psycopg://{USER}@{HOST}:{port}/by_certificate",
        "database_sslmode": "verify-full",
        "database_ca_file": pair.authority,
        "database_cert_file": pair.certificate,
        "database_key_file": pair.key,
    }
    return SqlSettings(**{**given, **changes})


async def test_postgresql_by_certificate_over_tls(postgres_port: int, pair: Certificates) -> None:
    settings = by_certificate(postgres_port, pair)
    await upgrade(settings.database_address, MIGRATIONS)
    db = Database(settings.database_address, pool_size=settings.database_pool_size)
    try:
        async with db.connect() as conn:
            found = await conn.execute(text("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            encrypted, version = found.one()
        assert (encrypted, version) == (True, "TLSv1.3")
        await db.ping()
    finally:
        await db.dispose()


async def test_what_is_wrong_with_postgresql_is_said_at_once(
    postgres_port: int, pair: Certificates, stranger: Certificates
) -> None:
    """In one line, without waiting: the process ends with it."""
    at = f"{HOST}:{postgres_port}/by_password"
    wrong = {
        "certificate verify failed": by_certificate(postgres_port, pair, database_ca_file=stranger.authority),
        "connection requires a valid client certificate": by_certificate(
            postgres_port, pair, database_cert_file=None, database_key_file=None
        ),
        'password authentication failed for user "reader"': by_certificate(
            postgres_port, pair, database_url=f"postgresql+psycopg://reader:wrong@{at}"
        ),
        "no encryption": by_certificate(
            postgres_port,
            pair,
            database_url=f"postgresql+psycopg://reader:right@{at}",
            database_sslmode="disable",
            database_ca_file=None,
            database_cert_file=None,
            database_key_file=None,
        ),
    }
    for words, settings in wrong.items():
        with pytest.raises(Internal) as caught:
            await upgrade(settings.database_address, MIGRATIONS)
        assert caught.value.reason == "DATABASE_REFUSED"
        assert words in caught.value.message, caught.value.message
        assert "\n" not in str(caught.value)


async def test_a_database_that_is_not_there_yet_is_waited_for(free_port: int) -> None:
    with pytest.raises(Unavailable, match=r"does not answer \(Connection refused\)"):
        await upgrade(f"postgresql+psycopg://{USER}@{HOST}:{free_port}/x", MIGRATIONS)


async def test_nats_in_a_cluster_by_credentials_over_tls(
    server_folder: Path, pair: Certificates, stranger: Certificates, free_port: int
) -> None:
    with running_cluster(server_folder / "cluster", pair) as cluster:
        given: dict[str, Any] = {
            # The first is away from the start.
            "nats_url": ",".join([f"nats://{HOST}:{free_port}", *cluster.urls]),
            "nats_credentials_file": cluster.credentials,
            "nats_ca_file": pair.authority,
            "nats_cert_file": pair.certificate,
            "nats_key_file": pair.key,
            "nats_replicas": 3,
            "nats_max_age_days": 2,
            "nats_max_mb": 16,
        }
        bus = EventBus.of(NatsSettings(**given), name="test")
        told: dict[str, Any] = {"subject": event_subject("p", "c", "i", "t"), "type": "t", "source": "s", "data": b"{}"}

        async def published(event_id: str) -> bool:
            try:
                return await bus.publish(event_id=event_id, **told) > 0
            except Unavailable:
                return False

        try:
            # The servers first have to agree on who leads.
            await until(lambda: published("1"), what="the cluster to take an event")
            stream = (await (await bus.open()).stream_info(bus.stream)).config
            assert (stream.num_replicas, stream.max_age, stream.max_bytes) == (3, 2 * 86_400, 16 * 1024 * 1024)
            cluster.kill(0)
            await until(lambda: published("2"), what="the two others to take an event")
        finally:
            await bus.close()

        given["nats_url"] = ",".join(cluster.urls[1:])
        for change, words in (
            ({"nats_ca_file": stranger.authority}, "certificate verify failed"),
            ({"nats_credentials_file": None}, "Authorization Violation"),
        ):
            refused = EventBus.of(NatsSettings(**{**given, **change}), name="test", timeout_s=scaled(1))
            try:
                with pytest.raises(Unavailable, match=words):
                    await refused.open()
            finally:
                await refused.close()


async def test_a_nats_server_without_tls_sees_no_password_where_tls_is_wanted(
    nats_url: str, pair: Certificates
) -> None:
    context = NatsSettings(nats_url=nats_url, nats_ca_file=pair.authority).nats_tls()
    bus = EventBus(nats_url, name="test", tls=context, timeout_s=scaled(1))
    with pytest.raises(Unavailable, match="speaks no TLS"):
        await bus.open()
    await bus.close()


async def test_s3_over_tls_of_a_private_authority(
    server_folder: Path, pair: Certificates, stranger: Certificates
) -> None:
    (https,) = servers.free_ports(1)
    spec = servers.seaweedfs(server_folder / "s3-tls", access_key="access", secret_key="secret-of-the-test")
    argv = (*spec.argv, f"-s3.port.https={https}", f"-s3.cert.file={pair.certificate}", f"-s3.key.file={pair.key}")
    settings = S3Settings(
        s3_endpoint=f"{HOST}:{https}",
        s3_access_key="access",
        s3_secret_key=SecretStr("secret-of-the-test"),
        s3_secure=True,
        s3_ca_file=pair.authority,
        s3_addressing="path",
    )
    with running(dataclasses.replace(spec, argv=argv)):
        store = ObjectStore(settings)
        await store.ensure_bucket()
        await store.put("a/b", b"bytes")
        assert await store.get("a/b") == b"bytes"
        url = await store.presign_get("a/b", expires=timedelta(minutes=1))
        assert url.startswith(f"https://{HOST}:{https}/fiveshot/a/b?")
        store.close()
        for authority in (stranger.authority, None):
            distrustful = ObjectStore(settings.model_copy(update={"s3_ca_file": authority}))
            for refused in (distrustful.ensure_bucket, distrustful.ping):
                with pytest.raises(Internal, match="certificate is not trusted") as caught:
                    await refused()
                assert caught.value.reason == "STORAGE_REFUSED"
            distrustful.close()


async def test_s3_by_a_token_of_the_cluster(s3_settings: S3Settings, tmp_path: Path) -> None:
    secret = s3_settings.s3_secret_key.get_secret_value()
    token = tmp_path / "token"
    token.write_text("first\n")
    with giving_identities(s3_settings.s3_access_key, secret) as identities:
        # Shorter than the library's margin: each use exchanges anew, as it would after an hour.
        identities.tokens, identities.lifetime = {"first"}, timedelta(seconds=5)
        given = {"s3_access_key": "", "s3_secret_key": SecretStr(""), "s3_identity": "web", "s3_role": "fiveshot"}
        settings = S3Settings(
            **{**s3_settings.model_dump(), **given, "s3_identity_url": identities.url, "s3_token_file": token}
        )
        store = ObjectStore(settings)
        await store.ensure_bucket()
        await store.put("key", b"bytes")
        assert set(identities.asked) == {("first", "fiveshot")}
        # The cluster renews the token in its file; the old one is worth nothing.
        identities.tokens = {"second"}
        with pytest.raises(Internal, match="HTTP 403") as caught:
            await store.get("key")
        assert "first" not in f"{caught.value!r} {caught.value.__cause__!r}"
        token.write_text("second")
        assert await store.get("key") == b"bytes"
        assert "X-Amz-Signature" in await store.presign_put("other", expires=timedelta(minutes=1))
        token.unlink()
        with pytest.raises(Internal, match="the token cannot be read"):
            await store.get("key")
        identities.url = ""
        store.close()


async def test_s3_by_the_role_of_the_machine(s3_settings: S3Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    secret = s3_settings.s3_secret_key.get_secret_value()
    with giving_identities(s3_settings.s3_access_key, secret) as identities:
        given = {"s3_access_key": "", "s3_secret_key": SecretStr(""), "s3_identity": "aws"}
        settings = S3Settings(**{**s3_settings.model_dump(), **given, "s3_identity_url": identities.url})
        store = ObjectStore(settings)
        await store.ensure_bucket()
        await store.put("key", b"bytes")
        with pytest.raises(NotFound):
            await store.get("other")
        # Kept for as long as it holds.
        assert identities.asked == [("", "fiveshot")]
        store.close()
    gone = ObjectStore(settings)
    with pytest.raises(DomainError) as caught:
        await gone.get("key")
    assert caught.value.reason == "STORAGE_UNAVAILABLE"
    gone.close()


def test_files_that_are_no_certificates_are_named(tmp_path: Path, pair: Certificates, stranger: Certificates) -> None:
    text_file = tmp_path / "notes.txt"
    text_file.write_text("nothing")
    both = tmp_path / "both.pem"
    shutil.copyfile(pair.authority, both)
    for fields, words in (
        ({"nats_ca_file": tmp_path / "absent"}, "absent: No such file or directory"),
        ({"nats_ca_file": text_file}, "notes.txt: holds no certificates in PEM"),
        ({"nats_credentials_file": text_file}, "holds no NATS user's JWT and key"),
        ({"nats_cert_file": pair.certificate}, "go together"),
        ({"nats_cert_file": pair.certificate, "nats_key_file": stranger.key}, "is no key without a password that fits"),
        ({"nats_url": "nats://a:4222,b:4222"}, "several with commas"),
    ):
        with pytest.raises(ValueError, match="validation error") as caught:
            NatsSettings(**fields)
        assert words in str(caught.value)
    assert NatsSettings(nats_url="nats://a:4222", nats_ca_file=both).nats_tls() is not None
