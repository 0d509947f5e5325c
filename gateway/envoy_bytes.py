"""Raw bodies over HTTP: the filter that completes the headers of a download.

Transcoding a stream drops its `content-length`, and every answer of a service is a 200. Services that send files say
both in private headers (services/chassis/http_bodies.py), which this filter turns into the real ones. It stands right
before the transcoder, so that it sees an answer right after it.

A file in pieces may break off, as when it is deleted meanwhile. Envoy then ends a shorter body than it has announced,
and a client of HTTP/1.1 would wait for the rest for good, so such an answer is the last of its connection.
"""

from __future__ import annotations

from typing import Any

from services.chassis.http_bodies import IN_PIECES_KEY, LENGTH_KEY, STATUS_KEY

_LUA = f"""
function envoy_on_response(handle)
  local headers = handle:headers()
  local length = headers:get("{LENGTH_KEY}")
  local status = headers:get("{STATUS_KEY}")
  local in_pieces = headers:get("{IN_PIECES_KEY}")
  headers:remove("{LENGTH_KEY}")
  headers:remove("{STATUS_KEY}")
  headers:remove("{IN_PIECES_KEY}")
  local kind = headers:get("content-type") or ""
  if kind:sub(1, 16) == "application/grpc" then
    return
  end
  if length ~= nil then
    headers:replace("content-length", length)
  end
  if status ~= nil then
    headers:replace(":status", status)
  end
  if in_pieces ~= nil and handle:streamInfo():protocol():sub(1, 6) == "HTTP/1" then
    handle:streamInfo():drainConnectionUponCompletion()
  end
end
"""


def completed_headers() -> dict[str, Any]:
    """The filter."""
    return {
        "name": "raw_bodies",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": _LUA},
        },
    }
