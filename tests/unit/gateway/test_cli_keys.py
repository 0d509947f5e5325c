"""API keys of the local stack by the command line."""

from __future__ import annotations

import json
from pathlib import Path

from gateway import api_keys
from gateway.cli import output
from gateway.supervisor.folder import DataFolder
from tests.unit.gateway.command_line import run_command


def test_keys_are_added_listed_and_withdrawn(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.credentials()
    made = run_command("keys", "add", "backend", "--for", "acme", "--days", "3", "--json", data=tmp_path)
    assert made.exit_code == 0
    secret = json.loads(made.stdout)["apiKey"]
    listed = json.loads(run_command("keys", "list", "--json", data=tmp_path).stdout)["keys"]
    assert [key["id"] for key in listed] == ["local", "backend"]
    assert secret not in folder.api_keys_file.read_text()
    assert run_command("keys", "add", "backend", "--for", "acme", data=tmp_path).exit_code == output.STATE
    assert run_command("keys", "add", "x", "--for", "../etc", data=tmp_path).exit_code == output.USAGE
    looks = run_command("keys", "add", "viewer", "--for", "acme", "--role", "reader", "--json", data=tmp_path)
    assert json.loads(looks.stdout)["role"] == "reader"
    assert (
        run_command("keys", "add", "boss", "--for", "acme", "--role", "owner", data=tmp_path).exit_code == output.USAGE
    )
    roles = {each.id: each.role for each in api_keys.load(folder.api_keys_file)}
    assert roles == {"local": "admin", "backend": "editor", "viewer": "reader"}
    assert run_command("keys", "remove", "backend", data=tmp_path).exit_code == output.OK
    assert run_command("keys", "remove", "backend", data=tmp_path).exit_code == output.NOT_FOUND


def test_a_key_is_rotated_with_an_overlap_and_the_command_line_keeps_its_own(tmp_path: Path) -> None:

    folder = DataFolder(tmp_path)
    before = folder.credentials().api_key
    made = json.loads(run_command("keys", "rotate", "local", "--overlap", "2", "--json", data=tmp_path).stdout)
    assert folder.credentials().api_key == made["apiKey"] != before
    keys = api_keys.load(folder.api_keys_file)
    old, new = api_keys.find(keys, before), api_keys.find(keys, made["apiKey"])
    assert old is not None
    assert new is not None
    assert (old.id, new.id, new.expires) == ("local", "local", None)
    assert old.expires is not None
    assert old.expires.isoformat() == made["replacedUntil"]
    assert run_command("keys", "rotate", "nobody", data=tmp_path).exit_code == output.NOT_FOUND
