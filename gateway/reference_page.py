"""The OpenAPI document as one HTML page: every call with its parameters, body, answer and a line of curl.

It holds no script and no inline style, and loads nothing but its own style sheet; a browser's search finds the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

Part = dict[str, Any]
_SCHEMAS = "#/components/schemas/"
_LIMITS = {
    "minimum": "≥ {}", "maximum": "≤ {}", "exclusiveMinimum": "> {}", "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters", "pattern": "matches `{}`",
    "minItems": "at least {} items", "maxItems": "at most {} items", "maxProperties": "at most {} entries",
    "const": "always {}",
}  # fmt: skip

STYLE = """\
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 20rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.5rem; border-right: 1px solid var(--line); }
nav h2 { font-size: .9rem; margin: 1.2rem 0 .3rem; }
nav a { display: block; font-size: .9rem; padding: .1rem 0; text-decoration: none; overflow-wrap: anywhere; }
main { padding: 1.5rem 2rem 6rem; max-width: 64rem; }
article { border-top: 1px solid var(--line); padding: .5rem 0 1.5rem; }
h1 { margin-top: 0; }
h3 { margin-bottom: .2rem; }
code, pre { font: .875em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { padding: .75rem; border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th { font-size: .85rem; font-weight: 600; }
td:first-child { white-space: nowrap; }
.verb { font-weight: 700; }
.note { opacity: .75; font-size: .9rem; }
@media (max-width: 60rem) {
  body { display: block; }
  nav { position: static; height: auto; border: 0; }
  main { padding: 1rem; }
}
"""


def page(document: Part) -> str:
    """The page."""
    operations = list(_operations(document))
    tags = [tag["name"] for tag in document["tags"]]
    menu = "".join(
        f"<h2>{_service(tag)}</h2>" + "".join(_link(each[2]) for each in operations if tag in each[2]["tags"])
        for tag in tags
    )
    parts = [
        f"<h1>{escape(document['info']['title'])} API</h1>",
        *_about(document["info"]["description"]),
        '<p>The same as a document for programs: <a href="/openapi.json">/openapi.json</a>.</p>',
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{_service(tag['name'])}</h2>{_text(tag['description'])}")
        parts += [_operation(*each) for each in operations if tag["name"] in each[2]["tags"]]
    parts.append("<h2>Types</h2>")
    parts += [_type(name, schema) for name, schema in document["components"]["schemas"].items()]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fiveshot API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/docs/style.css"></head>'
        f'<body><nav>{menu}<h2><a href="#Status">Types</a></h2></nav><main>{"".join(parts)}</main></body></html>\n'
    )


def _operations(document: Part) -> Iterator[tuple[str, str, Part]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield verb.upper(), path, operation


def _service(tag: str) -> str:
    return escape(tag.removesuffix("Service"))


def _link(operation: Part) -> str:
    name = escape(operation["operationId"])
    return f'<a href="#{name}">{name}</a>'


def _about(text: str) -> Iterator[str]:
    """Paragraphs and lists, as far as the document has them."""
    for block in text.strip().split("\n\n"):
        if block.startswith("- "):
            items = (_inline(" ".join(item.split())) for item in block[2:].split("\n- "))
            yield f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"
        elif block:
            yield _text(block)


def _operation(verb: str, path: str, operation: Part) -> str:
    name = escape(operation["operationId"])
    parts = [
        f'<article id="{name}"><h3>{name}</h3><p><span class="verb">{verb}</span> <code>{escape(path)}</code></p>',
        _text(operation["description"]),
    ]
    if parameters := operation.get("parameters"):
        rows = [
            (f"<code>{escape(each['name'])}</code>", each["in"], _kind(each["schema"]),
             _inline(each.get("description", "")) + _limits(each["schema"]))
            for each in parameters
        ]  # fmt: skip
        parts.append(_table(("parameter", "in", "type", ""), rows))
    if body := operation.get("requestBody"):
        content = next(iter(body["content"].values()))["schema"]
        parts.append(f"<p>Body: {'the file as it is' if content.get('format') == 'binary' else _kind(content)}</p>")
    answer = operation["responses"]["200"]
    content = next(iter(answer.get("content", {"": {"schema": {}}}).values()))["schema"]
    several = ", one JSON object a line" if "x-stream" in answer else ""
    parts.append(f"<p>Answer: {'a file' if content.get('format') == 'binary' else _kind(content)}{several}</p>")
    parts.append(f"<pre>{escape(curl(verb, path, operation))}</pre>")
    parts.append(f'<p class="note">gRPC: <code>{escape(operation["x-grpc-method"])}</code></p></article>')
    return "".join(parts)


def curl(verb: str, path: str, operation: Part) -> str:
    """A line that makes the call; ids are in capitals, as variables of a shell that the reader fills in."""
    path = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), path)
    words = ["curl", '-H "x-api-key: $FIVESHOT_API_KEY"']
    body = operation.get("requestBody")
    if body and "application/octet-stream" in body["content"]:
        words.append("--data-binary @FILE")
    elif body:
        words.append("-d '{…}'")
    if verb not in (("GET",) if not body else ("POST",)):
        words.insert(1, f"-X {verb}")
    if "304" in operation["responses"]:
        words.append("-OJ")
    if "x-stream" in operation["responses"]["200"]:
        words.append("-N")
    return " ".join([*words, f'"$FIVESHOT{path}"'])


def _type(name: str, schema: Part) -> str:
    parts = [f'<article id="{escape(name)}"><h3>{escape(name)}</h3>', *_about(schema.get("description", ""))]
    required = schema.get("required", ())
    if fields := schema.get("properties"):
        rows = [
            (f"<code>{escape(field)}</code>", _kind(each), _marks(field in required, each) + _about_field(each))
            for field, each in fields.items()
        ]
        parts.append(_table(("field", "type", ""), rows))
    return "".join([*parts, "</article>"])


def _about_field(schema: Part) -> str:
    return _inline(schema.get("description", "")) + _limits(schema)


def _marks(required: bool, schema: Part) -> str:
    words = [word for word, applies in (("required", required), ("write only", schema.get("writeOnly"))) if applies]
    return f"<b>{', '.join(words)}</b>. " if words else ""


def _kind(schema: Part) -> str:
    """A type in a word or two, with a link to where it stands."""
    if "allOf" in schema:
        return _kind(schema["allOf"][0])
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_SCHEMAS))
        return f'<a href="#{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_kind(schema['additionalProperties'])}"
    if not schema.get("properties") and schema.get("type") == "object":
        return "object"
    return escape(str(schema.get("format") or schema.get("type") or "any"))


def _limits(schema: Part) -> str:
    words = [text.format(schema[key]) for key, text in _LIMITS.items() if key in schema and "format" not in key]
    if schema.get("enum"):
        words.append("one of " + ", ".join(f"`{each}`" for each in schema["enum"]))
    inner = schema.get("items")
    each = f" Each: {_limits(inner)}" if isinstance(inner, dict) and _limits(inner) else ""
    return (f' <span class="note">{_inline("; ".join(words))}</span>' if words else "") + each


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(text: str) -> str:
    return f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
