"""`fiveshot console` on a running stack: the address that it prints signs a browser in, once."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import httpx

from gateway.cli import output
from tests.fixtures.running_stack import PARENT, RunningStack


async def test_the_printed_address_opens_the_project_once(filled_stack: RunningStack) -> None:
    done = await asyncio.to_thread(filled_stack.command, "console", "--json")
    assert done.exit_code == output.OK, done.output
    address = urlsplit(json.loads(done.stdout)["url"])
    # What follows the # stays in the browser: no log and no server sees it.
    where, _, code = address.fragment.rpartition("/")
    assert (address.netloc, where) == (filled_stack.server, "/sign-in")
    origin = f"{address.scheme}://{address.netloc}"
    headers = {"x-fiveshot-console": "1", "origin": origin}
    async with httpx.AsyncClient(base_url=origin, headers=headers) as browser:
        assert (await browser.get(f"/v1/{PARENT}/datasets")).status_code == 401
        signed = await browser.post("/console/session", headers={"x-fiveshot-code": code})
        assert (signed.status_code, signed.json()["role"]) == (200, "admin")
        names = {each["name"] for each in (await browser.get(f"/v1/{PARENT}/datasets")).json()["datasets"]}
        assert f"{PARENT}/datasets/photos" in names
        again = await browser.post("/console/session", headers={"x-fiveshot-code": code})
        assert again.json()["details"][0]["reason"] == "CODE_USED"
        assert (await browser.delete("/console/session")).status_code == 200
        assert (await browser.get("/console/session")).status_code == 401
