"""The file of API keys: what it takes, what it refuses by name, and that a change counts at once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import api_keys
from gateway.api_keys import ApiKey
from gateway.roles import Role

NEVER = ApiKey("one", "a" * 64, ("acme",))
LATER = ApiKey("two", "b" * 64, ("*",), datetime(2027, 1, 1, tzinfo=UTC))


def test_what_is_saved_is_loaded_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    api_keys.save(path, [NEVER, LATER])
    assert api_keys.load(path) == [NEVER, LATER]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys: [", "not YAML"),
        ("- a", "one list under `keys`"),
        ("keys: {a: b}", "one list under `keys`"),
        ("keys: [7]", r"keys\[0\]: must be a mapping"),
        ("keys: [{id: A, sha256: x, projects: [p]}]", r"keys\[0\].id"),
        (f"keys: [{{id: a, sha256: short, projects: [p]}}, {'{}'}]", r"keys\[0\].sha256"),
        (f"keys: [{{id: a, sha256: {'a' * 64}, projects: []}}]", r"keys\[0\].projects"),
        (f"keys: [{{id: a, sha256: {'a' * 64}, projects: ['../x']}}]", r"keys\[0\].projects.*\.\./x"),
        (f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p], key: x}}]", "unknown fields key"),
        (f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p], expires: soon}}]", r"keys\[0\].expires"),
        (f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p], expires: [1]}}]", r"keys\[0\].expires"),
        ("keys:\n" + 2 * f"- {{id: a, sha256: {'a' * 64}, projects: [p]}}\n", "given twice: a"),
    ],
)
def test_a_wrong_file_is_refused_by_entry_and_field(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        api_keys.parse(text)


def test_a_date_without_a_zone_is_utc() -> None:
    (key,) = api_keys.parse(f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p], expires: 2027-01-01T00:00:00}}]")
    assert key.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert key.expired(datetime(2027, 1, 1, tzinfo=UTC))
    assert not key.expired(datetime(2026, 12, 31, tzinfo=UTC))


def test_a_secret_finds_its_key_only() -> None:
    secret = api_keys.new_secret()
    mine = ApiKey("mine", api_keys.digest(secret), ("acme",))
    assert api_keys.find([NEVER, mine, LATER], secret) == mine
    assert api_keys.find([NEVER, mine, LATER], secret + "x") is None
    assert api_keys.find([], secret) is None
    assert len({api_keys.new_secret() for _ in range(100)}) == 100


def test_a_changed_file_counts_and_a_broken_one_keeps_the_last_good_keys(tmp_path: Path) -> None:
    path, secret = tmp_path / "keys.yaml", api_keys.new_secret()
    keys = api_keys.ApiKeyFile(path)
    assert keys.find(secret) is None
    api_keys.save(path, [ApiKey("mine", api_keys.digest(secret), ("acme",))])
    assert keys.find(secret) is not None
    path.write_text("keys: [")
    assert keys.find(secret) is not None
    assert str(path) in keys.problem
    api_keys.save(path, [])
    assert keys.find(secret) is None
    assert keys.problem == ""


def test_a_start_with_a_broken_file_is_refused_and_one_without_a_file_is_not(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        api_keys.ApiKeyFile(tmp_path).begin()
    path, secret = tmp_path / "keys.yaml", api_keys.new_secret()
    keys = api_keys.ApiKeyFile(path)
    keys.begin()
    api_keys.save(path, [ApiKey("mine", api_keys.digest(secret), ("acme",))])
    keys.begin()
    assert keys.find(secret) is not None
    path.write_text("keys: [")
    with pytest.raises(ValueError, match="not YAML"):
        api_keys.ApiKeyFile(path).begin()


def test_without_a_file_nobody_has_a_key() -> None:
    assert api_keys.ApiKeyFile(None).find("fs_anything") is None


def test_a_key_of_a_file_from_before_there_were_roles_is_an_editor() -> None:
    (key,) = api_keys.parse(f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p]}}]")
    assert key.role == Role.EDITOR


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("role: owner", r"keys\[0\].role: 'owner' is none of reader, editor, admin"),
        ("replaced: soon", r"keys\[0\].replaced: must hold sha256 and until"),
        ("replaced: {sha256: short, until: 2027-01-01}", r"keys\[0\].replaced.sha256"),
        (f"replaced: {{sha256: {'b' * 64}, until: soon}}", r"keys\[0\].replaced.until"),
        (f"replaced: {{sha256: {'b' * 64}, until: null}}", r"keys\[0\].replaced.until"),
    ],
)
def test_a_wrong_role_or_rotation_is_refused_by_field(entry: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        api_keys.parse(f"keys: [{{id: a, sha256: {'a' * 64}, projects: [p], {entry}}}]")


def test_after_a_rotation_both_secrets_are_good_until_the_overlap_ends(tmp_path: Path) -> None:
    old, new, newest = (api_keys.new_secret() for _ in range(3))
    until = datetime(2026, 6, 2, tzinfo=UTC)
    before = ApiKey("mine", api_keys.digest(old), ("acme",), datetime(2027, 1, 1, tzinfo=UTC), Role.READER)
    path = tmp_path / "keys.yaml"
    api_keys.save(path, [NEVER, api_keys.rotated(before, new, until)])
    keys = api_keys.load(path)
    by_old, by_new = api_keys.find(keys, old), api_keys.find(keys, new)
    assert by_old is not None
    assert by_new is not None
    assert by_old.role == by_new.role == Role.READER
    assert (by_old.expires, by_new.expires) == (until, before.expires)
    # Only one overlap at a time: who rotates twice wants the first secret gone.
    twice = api_keys.rotated(keys[1], newest, until)
    assert api_keys.find([twice], old) is None
    assert api_keys.find([twice], new) is not None
