"""How much may be asked: by address before anyone is known, by caller afterwards, and how large a body may be.

Each limit is a token bucket of one Envoy, taken from by all its threads; several Envoys allow several times as much.
"""

from __future__ import annotations

from typing import Any

from gateway.envoy_replies import EDGE_SPACE
from gateway.settings import Settings
from services.chassis.request_context import PRINCIPAL_KEY

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
ADDRESS_LIMIT, UNKNOWN_LIMIT, CALLER_LIMIT, BODY_LIMIT = "address_limit", "unknown_limit", "caller_limit", "body_limit"
# A host gets a whole /64 of IPv6, so its calls are counted by that.
_ADDRESS = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
_MAX_DESCRIPTORS = 10_000


def address_limit(settings: Settings) -> Config:
    """Every call of one address, whoever it says it is."""
    return _limit(
        ADDRESS_LIMIT,
        settings.address_limit_per_second,
        settings.address_limit_burst,
        [("masked_remote_address", _ADDRESS)],
    )


def unknown_limit(settings: Settings) -> Config:
    """Calls of one address that must be put to the authorization service, because edge.lua does not know them.

    A caller in good standing is asked about once in a while, whoever tries keys is asked about at every call.
    """
    asks = {"key": EDGE_SPACE, "path": [{"key": "asks"}]}
    return _limit(
        UNKNOWN_LIMIT,
        settings.unknown_limit_per_second,
        settings.unknown_limit_burst,
        [
            ("asks", {"metadata": {"descriptor_key": "asks", "metadata_key": asks, "source": "DYNAMIC"}}),
            ("masked_remote_address", _ADDRESS),
        ],
    )


def caller_limit(settings: Settings) -> Config:
    """Calls of one caller, by the name that the authorization gave it."""
    by_caller = {"request_headers": {"header_name": PRINCIPAL_KEY, "descriptor_key": "principal"}}
    return _limit(CALLER_LIMIT, settings.rate_limit_per_second, settings.rate_limit_burst, [("principal", by_caller)])


def body_limit(settings: Settings) -> Config:
    """Holds a JSON body back until it is whole, and refuses it early when it is too large; off on routes of bytes."""
    return {
        "name": BODY_LIMIT,
        "typed_config": {"@type": f"{_TYPE}.buffer.v3.Buffer", "max_request_bytes": settings.max_json_kb * 1024},
    }


def unlimited_body() -> Config:
    """What a route says that takes bodies of any size, chunk by chunk."""
    return {"@type": f"{_TYPE}.buffer.v3.BufferPerRoute", "disabled": True}


def _limit(name: str, per_second: int, burst: int, by: list[tuple[str, Config]]) -> Config:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": f"gateway.{name}"}
    bucket = {"max_tokens": burst, "tokens_per_fill": per_second, "fill_interval": "1s"}
    return {
        "name": name,
        "typed_config": {
            "@type": f"{_TYPE}.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": name,
            # The filter insists on a bucket for all; with one for each nobody takes from it.
            "token_bucket": {**bucket, "max_tokens": 1000 * burst, "tokens_per_fill": 1000 * per_second},
            "always_consume_default_token_bucket": False,
            "descriptors": [{"entries": [_entry(key) for key, _ in by], "token_bucket": bucket}],
            "rate_limits": [{"actions": [action for _, action in by]}],
            "max_dynamic_descriptors": _MAX_DESCRIPTORS,
            "filter_enabled": always,
            "filter_enforced": always,
            "rate_limited_as_resource_exhausted": True,
        },
    }


def _entry(key: str) -> Config:
    # Without a value the entry stands for each value by itself.
    return {"key": key, "value": "1"} if key == "asks" else {"key": key}
