"""The audit of a running stack: what a caller did and was refused is there for admins, from every process."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx

from gateway.cli import output
from tests.fixtures.patience import until
from tests.fixtures.running_stack import PARENT, RunningStack


async def test_changes_and_refusals_of_every_process_are_listed(filled_stack: RunningStack) -> None:
    stack, request_id = filled_stack, f"audit-{uuid.uuid4().hex}"
    name = f"{PARENT}/datasets/{request_id}"
    key = (
        await asyncio.to_thread(
            stack.command, "keys", "add", request_id, "--for", "default", "--role", "reader", "--json"
        )
    ).stdout
    reader = json.loads(key)["apiKey"]
    async with httpx.AsyncClient(base_url=f"http://{stack.server}", headers={"x-request-id": request_id}) as client:
        own = {"x-api-key": stack.api_key}
        path, body = f"/v1/{PARENT}/datasets?dataset_id={request_id}", json.dumps({})
        assert (await client.post(path, content=body, headers=own)).status_code == 200
        assert (await client.post(path, content=body, headers=own)).status_code == 409
        assert (await client.delete(f"/v1/{name}", headers={"x-api-key": reader})).status_code == 403
        assert (await client.get(f"/v1/{PARENT}/auditRecords", headers={"x-api-key": reader})).status_code == 403
        assert (await client.delete(f"/v1/{name}", headers=own)).status_code == 200

    async def there() -> list[dict[str, Any]]:
        listed = await asyncio.to_thread(
            stack.command, "audit-log", "--filter", f'request_id = "{request_id}"', "--order-by", "time", "--json"
        )
        assert listed.exit_code == output.OK, listed.output
        found = json.loads(listed.stdout)["auditRecords"]
        return found if len(found) == 5 and found[0]["resource"] == name else []

    made, again, refused, looked, deleted = await until(there)
    service = "fiveshot.dataset.v1.DatasetService"
    assert (made["method"], made["code"], made["principal"], made["role"]) == (
        f"{service}.CreateDataset", "OK", "key:local", "admin",
    )  # fmt: skip
    assert (again["code"], again["reason"]) == ("ALREADY_EXISTS", "DATASET_EXISTS")
    assert (refused["method"], refused["resource"], refused["principal"], refused["role"]) == (
        "DELETE", name, f"key:{request_id}", "reader",
    )  # fmt: skip
    assert (refused["code"], refused["reason"]) == ("PERMISSION_DENIED", "ROLE_TOO_LOW")
    assert (looked["method"], looked["reason"]) == ("GET", "ROLE_TOO_LOW")
    assert (deleted["method"], deleted["resource"], deleted["code"]) == (f"{service}.DeleteDataset", name, "OK")
    assert {each["address"] for each in (made, again, refused, looked, deleted)} == {"127.0.0.1"}
    assert stack.api_key not in json.dumps([made, again, refused, looked, deleted])

    shown = await asyncio.to_thread(stack.command, "audit-log", "--filter", f'request_id = "{request_id}"')
    assert "DeleteDataset" in shown.stdout
    everything = await asyncio.to_thread(stack.command, "audit-log", "--all-projects")
    assert (everything.exit_code, everything.stderr.count("\n")) == (output.NOT_ALLOWED, 1)
