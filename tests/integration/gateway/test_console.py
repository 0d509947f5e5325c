"""The console through the real Envoy: its files and their headers, signing in, and what a cookie opens."""

from __future__ import annotations

import re
from importlib import resources

import httpx

from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_edge import asked

NAME = "projects/acme/datasets/dogs"
RPC = "/fiveshot.dataset.v1.DatasetService/GetDataset"
WEB = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}


def browser(gateway: Gateway) -> httpx.AsyncClient:
    """Sends what the console's page sends, and keeps cookies."""
    origin = f"http://{gateway.target}"
    return httpx.AsyncClient(base_url=origin, headers={"origin": origin, "x-fiveshot-console": "1"})


async def test_the_page_and_what_it_loads_need_no_key(gateway: Gateway) -> None:
    dist = resources.files("gateway").joinpath("console/dist")
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}") as client:
        page = await client.get("/")
        assert (page.status_code, page.text) == (200, dist.joinpath("index.html").read_text(encoding="utf-8"))
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        loaded = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
        assert loaded
        for path in loaded:
            file = await client.get(path)
            name = path.rpartition("/")[2]
            assert (file.status_code, file.content) == (200, dist.joinpath(f"assets/{name}").read_bytes())
            assert "immutable" in file.headers["cache-control"]
            assert file.headers["x-content-type-options"] == "nosniff"
            kind = file.headers["content-type"].partition(";")[0]
            assert kind in ("text/javascript", "text/css", "image/svg+xml")
        assert (await client.get("/assets/none.js")).status_code == 401
        assert (await client.post("/")).status_code == 401


async def test_a_browser_signs_in_calls_and_signs_out(gateway: Gateway) -> None:
    code, _ = gateway.sessions.new_code("good")
    async with browser(gateway) as client:
        missing = await client.get("/console/session")
        assert (missing.status_code, missing.json()["details"][0]["reason"]) == (401, "CREDENTIALS_MISSING")
        signed = await client.post("/console/session", headers={"x-fiveshot-code": code})
        assert (signed.status_code, signed.json()["projects"]) == (200, ["acme"])
        assert "HttpOnly; SameSite=Strict" in signed.headers["set-cookie"]
        assert (await client.get("/console/session")).json()["key"] == "good"
        assert (await client.get(f"/v1/{NAME}")).status_code == 200
        seen = gateway.servicer.metadata[-1]
        assert (seen["x-fiveshot-projects"], seen["x-fiveshot-principal"]) == ("acme", "session:good")
        assert "cookie" not in seen
        again = await client.post("/console/session", headers={"x-fiveshot-code": code})
        assert (again.status_code, again.json()["details"][0]["reason"]) == (401, "CODE_USED")
        assert (await client.delete("/console/session")).status_code == 200
        assert not client.cookies
        assert (await client.get("/console/session")).status_code == 401


async def test_a_cookie_is_remembered_only_with_what_shows_whose_page_called(gateway: Gateway) -> None:
    """Envoy answers a call of the same shape from memory; that must not carry over to a page of another origin."""
    token, _ = gateway.sessions.open("good")
    body = bytes(5)
    async with browser(gateway) as client:
        client.cookies.set("fiveshot_session", token)
        before = asked()
        for _ in range(5):
            answer = await client.post(RPC, headers=WEB, content=body)
            assert answer.headers.get("grpc-status") != "7", answer.headers
        assert asked() - before < 5
        for wrong in ({"origin": "https://evil.example"}, {"x-fiveshot-console": ""}):
            refused = await client.post(RPC, headers=WEB | wrong, content=body)
            assert refused.headers["grpc-status"] == "7"
        gateway.sessions.close(token)
        client.cookies.set("fiveshot_session", token + "x", domain="127.0.0.1")
        client.cookies.delete("fiveshot_session", domain="")
        unknown = await client.post(RPC, headers=WEB, content=body)
        assert unknown.headers["grpc-status"] == "16"


async def test_a_foreign_page_may_not_even_ask(gateway: Gateway) -> None:
    """An origin that CORS allows sends keys of its own; the console's header, and so its cookies, are not for it."""
    async with httpx.AsyncClient(base_url=f"http://{gateway.target}") as client:
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-fiveshot-console"}
        answer = await client.options(RPC, headers={"origin": "https://app.example", **asks})
    assert "x-fiveshot-console" not in answer.headers.get("access-control-allow-headers", "")
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_browser_signs_in_at_an_identity_provider_and_calls(gateway: Gateway) -> None:
    async with browser(gateway) as client:
        assert (await client.get("/console/oidc")).json() == {"name": "Example"}
        arrived = await client.get("/console/oidc/start?to=/acme/datasets/dogs/photos", follow_redirects=True)
        assert (arrived.status_code, str(arrived.url.fragment)) == (200, "/acme/datasets/dogs/photos")
        assert "<html" in arrived.text
        assert [each.status_code for each in arrived.history] == [302, 302, 302]
        assert (await client.get("/console/session")).json()["projects"] == ["acme"]
        assert (await client.get(f"/v1/{NAME}")).status_code == 200
        seen = gateway.servicer.metadata[-1]
        assert (seen["x-fiveshot-principal"], seen["x-fiveshot-role"]) == ("session:ada", "editor")
        assert seen["x-fiveshot-address"] == "127.0.0.1"
        replayed = await client.get(str(arrived.history[2].url))
        assert (replayed.status_code, "Signing in failed" in replayed.text) == (401, True)
        assert (await client.delete("/console/session")).status_code == 200
        assert (await client.get(f"/v1/{NAME}")).status_code == 401
