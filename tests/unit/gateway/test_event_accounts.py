"""Who may reach the event bus, as it is kept and as it is written for NATS."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import event_accounts, event_consumers
from gateway.event_accounts import Consumer


def _consumer(id: str, project: str) -> Consumer:
    return Consumer(id, project, event_consumers.new_seed()[1])


def test_consumers_are_kept_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "consumers.json"
    assert event_accounts.load(path) == []
    consumers = [_consumer("one", "acme"), _consumer("two", "globex")]
    event_accounts.save(path, consumers)
    assert event_accounts.load(path) == consumers
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("consumer", "field"),
    [
        (Consumer("One", "acme", "U" + "A" * 55), "id"),
        (Consumer("one", "*", "U" + "A" * 55), "project"),
        (Consumer("one", "acme.other", "U" + "A" * 55), "project"),
        (Consumer("one", ">", "U" + "A" * 55), "project"),
        (Consumer("one", "acme", "SUAPRIVATE"), "public_key"),
    ],
)
def test_what_would_open_more_than_a_project_is_refused(consumer: Consumer, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        event_accounts.check(consumer)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "consumers.json"
    path.write_text('{"consumers": [{"id": "one"}]}')
    with pytest.raises(ValueError, match=r"consumers\.json: "):
        event_accounts.load(path)


def test_each_project_has_an_account_that_only_takes_in() -> None:
    one, two, other = _consumer("one", "acme"), _consumer("two", "acme"), _consumer("three", "globex")
    accounts = event_accounts.accounts("secret", [one, two, other])
    assert set(accounts) == {"SERVICES", "PROJECT_acme", "PROJECT_globex"}
    assert "imports" not in accounts["SERVICES"]
    assert all("exports" not in account for name, account in accounts.items() if name != "SERVICES")
    readers = [user for user in accounts["PROJECT_acme"]["users"] if "nkey" in user]
    assert [user["nkey"] for user in readers] == [one.public_key, two.public_key]
    for user in readers:
        assert user["permissions"]["subscribe"]["allow"] == ["fiveshot.events.v1.acme.>", "_INBOX.>"]
        assert all(subject.startswith(("$JS.API.", "$JS.ACK.")) for subject in user["permissions"]["publish"]["allow"])
