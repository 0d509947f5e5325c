"""Captioners behind an address that speaks the chat API of OpenAI with image parts: vLLM, SGLang, llama.cpp, Ollama.

A picture goes to the address that the operator has set and nowhere else: no redirect is followed, and no proxy of the
environment is used. It is made anew for that, so that nothing of its file (place, camera, name) goes along. What comes
back is a stranger's: it is read up to a limit, never shown, and never logged.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from services.chassis.errors import DomainError, FailedPrecondition, Unavailable
from services.chassis.logging import get_logger
from services.chassis.pictures import resize_within, to_jpeg
from services.tagger.adapters.captioner_file import CaptionerFile
from services.tagger.models.pictures import Kind, Picture, TaggerInfo
from services.tagger.ports import Answer

log = get_logger(__name__)

LARGEST_ANSWER = 512 * 1024
"""Bytes of an answer that are read; a caption with all its thoughts has a few thousand."""
LONGEST_PAUSE_S = 60.0
"""A server that wants a longer pause is away."""
_JPEG_QUALITY = 90
_REFUSES = (
    HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)  # fmt: skip
_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class OpenAiCaptioner:
    """A Captioner as its file describes it. api_key: reads the key, anew for each request; "" is none.

    answer: may be called from several tasks of one loop; `parallel` of them are under way at once.
    """

    def __init__(self, id: str, file: CaptionerFile, api_key: Callable[[], str]) -> None:
        self._file = file
        self._api_key = api_key
        self._places = asyncio.Semaphore(file.parallel)
        self._verify: ssl.SSLContext | bool = True
        self._info = TaggerInfo(
            id=id,
            display_name=file.display_name or id,
            description=file.description or "Describes pictures in sentences. Pictures are sent to its server.",
            domain="pictures of any kind",
            vocabulary=(),
            categories=(),
            model_sha256="",
            device="remote",
            batch_size=file.parallel,
            kind=Kind.CAPTIONS,
            model=file.model,
        )

    def describe(self) -> TaggerInfo:
        """See the port."""
        return self._info

    def available(self) -> bool:
        """See the port."""
        return True

    async def answer(self, picture: Picture, prompt: str, on_call: Callable[[], None]) -> Answer:
        """See the port."""
        body = await asyncio.to_thread(self._body, picture, prompt)
        pause = self._file.first_pause_s
        async with self._places:
            for attempt in range(1, self._file.attempts + 1):
                try:
                    on_call()
                    return await self._once(body)
                except Unavailable as error:
                    wanted = error.retry_after_s or 0.0
                    log.warning("captioner_call_failed", tagger=self._info.id, attempt=attempt, reason=error.reason)
                    if attempt == self._file.attempts or wanted > LONGEST_PAUSE_S:
                        raise
                    await asyncio.sleep(max(wanted, pause * random.uniform(0.75, 1.25)))
                    pause = min(2 * pause, LONGEST_PAUSE_S)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, body: bytes) -> Answer:
        headers = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
        key = self._api_key()
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            async with asyncio.timeout(self._file.timeout_s):
                return _answer(await self._post(body, headers))
        except TimeoutError as error:
            raise _away("did not answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _away("cannot be reached") from error

    async def _post(self, body: bytes, headers: dict[str, str]) -> bytes:
        if self._verify is True and self._file.address.startswith("https"):
            self._verify = await asyncio.to_thread(ssl.create_default_context)
        limits = {"timeout": None, "follow_redirects": False, "trust_env": False, "verify": self._verify}
        url = f"{self._file.address.rstrip('/')}/chat/completions"
        async with (
            httpx.AsyncClient(**limits) as client,  # type: ignore[arg-type]  # plain keyword arguments
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            _check(response)
            answer = bytearray()
            async for chunk in response.aiter_raw(chunk_size=16 * 1024):
                answer += chunk
                if len(answer) > LARGEST_ANSWER:
                    raise _away("sent more than an answer")
            return bytes(answer)

    def _body(self, picture: Picture, prompt: str) -> bytes:
        image = resize_within(Image.fromarray(np.ascontiguousarray(picture.rgb)), self._file.max_side)
        data = base64.b64encode(to_jpeg(image, quality=_JPEG_QUALITY)).decode("ascii")
        parts = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}},
            {"type": "text", "text": prompt},
        ]
        asked = {
            "model": self._file.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": self._file.max_tokens,
            "temperature": self._file.temperature,
            "stream": False,
        }
        return json.dumps(asked | self._file.extra).encode()


def key_reader(path: Path | None, key: str) -> Callable[[], str]:
    """Reads the API key out of a file, anew for each request, or gives the one of the settings."""

    def read() -> str:
        if path is None:
            return key
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _refuses("the file of its API key cannot be read") from error
        if not found.isprintable() or " " in found:
            raise _refuses("the file of its API key holds no key")
        return found

    return read


def _check(response: httpx.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _away("sent an answer in a form that was not asked for")
        return
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _away(f"answered with HTTP {status}", retry_after_s=_pause(response.headers.get("retry-after", "")))
    redirects = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    if redirects or status in _REFUSES:
        what = "sends its callers elsewhere" if redirects else "refuses the request"
        raise _refuses(f"its server {what} (HTTP {status})")
    raise FailedPrecondition(
        f"The captioner's server refused the picture (HTTP {status})",
        field="options.captioner",
        reason="CAPTION_REFUSED",
        remedy="Write this caption by hand, or use another captioner.",
    )


def _answer(data: bytes) -> Answer:
    try:
        choice: dict[str, Any] = json.loads(data)["choices"][0]
        content, finish = choice["message"].get("content"), choice.get("finish_reason")
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part.get("type") in ("text", "output_text"))
        text = content or ""
        # Half of a surrogate pair is no text.
        text.encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _away("sent no answer of the chat API") from error
    return Answer(text, cut_short=finish == "length", refused=finish == "content_filter")


def _pause(header: str) -> float | None:
    """Seconds that a Retry-After asks for; None where it says nothing that can be read."""
    try:
        return min(max(0.0, float(header)), 86_400.0)
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _away(what: str, *, retry_after_s: float | None = None) -> DomainError:
    return Unavailable(
        f"The captioner's server {what}",
        field="options.captioner",
        reason="CAPTIONER_AWAY",
        remedy="Retry the job's failed images later; if it persists, tell the operator.",
        retry_after_s=retry_after_s,
    )


def _refuses(why: str) -> DomainError:
    return FailedPrecondition(
        f"The captioner cannot be used: {why}",
        field="options.captioner",
        reason="CAPTIONER_REFUSES",
        remedy="Ask the operator to check its address, model and API key; then retry the job's failed images.",
    )
