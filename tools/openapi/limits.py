"""Field rules as JSON Schema. What it cannot say, such as the bounds of a 64-bit number, becomes a sentence."""

from __future__ import annotations

from typing import Any

from buf.validate import validate_pb2

Schema = dict[str, Any]
_BOUNDS = {"gte": "minimum", "lte": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}
_WORDS = {"gte": "at least", "lte": "at most", "gt": "more than", "lt": "less than"}
_NUMBERS = ("int32", "int64", "uint32", "uint64", "double", "float")
_IN_TEXT = ("int64", "uint64")


def narrowed(schema: Schema, rules: validate_pb2.FieldRules) -> Schema:
    """The schema of one value with its limits; `schema` is left as it is."""
    kind = rules.WhichOneof("type")
    if kind is None or kind in ("any", "timestamp"):
        return schema
    limits = getattr(rules, kind)
    may_be_empty = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
    if kind == "string":
        return schema | _text(limits, may_be_empty)
    if kind in _NUMBERS:
        return _number(schema, limits, kind)
    if kind == "enum":
        return schema
    if kind == "repeated":
        return _array(schema, limits)
    if kind == "map":
        return _map(schema, limits)
    if kind == "bool":
        return schema | ({"const": limits.const} if limits.HasField("const") else {})
    if kind == "duration":
        return _said(schema, [f"{word} {_seconds(limits, name)}" for name, word in _set_bounds(limits)])
    if kind == "bytes":
        return _said(schema, [f"at most {limits.max_len} bytes"] if limits.HasField("max_len") else [])
    raise SystemExit(f"the OpenAPI document has no words yet for field rules of kind {kind}")


def must_be_set(rules: validate_pb2.FieldRules) -> bool:
    """Whether the rules refuse a field that is left out."""
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return False
    return rules.required or rules.string.min_len > 0 or rules.repeated.min_items > 0


def _text(limits: validate_pb2.StringRules, may_be_empty: bool) -> Schema:
    found: Schema = {}
    if limits.HasField("min_len") and not may_be_empty:
        found["minLength"] = limits.min_len
    if limits.HasField("max_len"):
        found["maxLength"] = limits.max_len
    if limits.HasField("pattern"):
        found["pattern"] = f"^$|{limits.pattern}" if may_be_empty else limits.pattern
    options = list(getattr(limits, "in"))
    if options:
        found["enum"] = [""] * may_be_empty + options
    return found


def _number(schema: Schema, limits: Any, kind: str) -> Schema:
    if kind in _IN_TEXT:
        return _said(schema, [f"{word} {getattr(limits, name)}" for name, word in _set_bounds(limits)])
    found = {_BOUNDS[name]: _plain(getattr(limits, name), kind) for name, _ in _set_bounds(limits)}
    return schema | found


def _plain(value: float, kind: str) -> float:
    """A bound as it stands in the proto: a float's 0.1 is not 0.10000000149."""
    if kind == "float":
        value = float(f"{value:.7g}")
    return int(value) if value == int(value) else value


def _set_bounds(limits: Any) -> list[tuple[str, str]]:
    return [(name, word) for name, word in _WORDS.items() if limits.HasField(name)]


def _seconds(limits: validate_pb2.DurationRules, name: str) -> str:
    return f"{getattr(limits, name).seconds} s"


def _array(schema: Schema, limits: validate_pb2.RepeatedRules) -> Schema:
    found = dict(schema)
    if limits.min_items:
        found["minItems"] = limits.min_items
    if limits.HasField("max_items"):
        found["maxItems"] = limits.max_items
    if limits.unique:
        found["uniqueItems"] = True
    if limits.HasField("items"):
        found["items"] = narrowed(found["items"], limits.items)
    return found


def _map(schema: Schema, limits: validate_pb2.MapRules) -> Schema:
    found = dict(schema)
    if limits.HasField("max_pairs"):
        found["maxProperties"] = limits.max_pairs
    if limits.HasField("keys"):
        found["propertyNames"] = narrowed({"type": "string"}, limits.keys)
    if limits.HasField("values"):
        found["additionalProperties"] = narrowed(found["additionalProperties"], limits.values)
    return found


def _said(schema: Schema, words: list[str]) -> Schema:
    if not words:
        return schema
    sentence = " and ".join(words)
    before = f"{schema['description']} " if schema.get("description") else ""
    return schema | {"description": f"{before}{sentence[0].upper()}{sentence[1:]}."}
