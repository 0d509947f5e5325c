"""`fiveshot taggers`: what can find tags here."""

from __future__ import annotations

import typer
from fiveshot.tagger.v1 import tagger_service_pb2 as pb

from gateway.cli import output
from gateway.cli.session import Session


def taggers(ctx: typer.Context) -> None:
    """List the taggers with what they know."""
    session: Session = ctx.obj
    answer = session.tagger.ListTaggers(pb.ListTaggersRequest())
    if session.json:
        output.print_json(answer)
        return
    rows = (
        (output.short(each.name), "yes" if each.is_default else "", each.domain, len(each.vocabulary) or "open",
         each.device, each.description)
        for each in answer.taggers
    )  # fmt: skip
    output.table(("tagger", "default", "domain", ">labels", "device", "what it does"), rows)
