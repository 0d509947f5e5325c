"""`fiveshot webhooks …`: addresses that the project's events are sent to."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.errors import FailedPrecondition, InvalidArgument
from fiveshot.notifier.v1 import notifier_service_pb2 as pb
from fiveshot.notifier.v1 import webhook_pb2
from fiveshot.sync.calls import pages
from fiveshot.sync.webhooks import Webhooks
from google.protobuf.field_mask_pb2 import FieldMask

from gateway.cli import labels, lookup, output
from gateway.cli.completion import webhooks
from gateway.cli.session import Session

app = typer.Typer(help="Events sent to your server, signed.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="WEBHOOK", help="Id or full name of the webhook.", autocompletion=webhooks)
]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        help="Type of event, such as fiveshot.training_job.state_changed or fiveshot.training_job.*; repeatable.",
    ),
]
Limit = Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")]


@app.command()
def create(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where events are sent: https://…")],
    webhook: Annotated[str, typer.Option("--id", help="Id of the new webhook; generated when empty.")] = "",
    event: Types = None,
    display_name: Annotated[str, typer.Option(help="Display name.")] = "",
    label: labels.Label = None,
) -> None:
    """Create a webhook and print its secret once."""
    session: Session = ctx.obj
    webhook = lookup.new_id(webhook, field="webhook_id", kind="webhook")
    fields = webhook_pb2.Webhook(
        url=url, event_types=event or [], display_name=display_name, labels=labels.parsed(label)
    )
    request = pb.CreateWebhookRequest(parent=session.parent, webhook_id=webhook, webhook=fields)
    made = session.notifier.CreateWebhook(request)
    output.print_json(made) if session.json else output.say(f"Created {made.name}; its secret is {made.secret}")
    output.next_step(session, f"fiveshot webhooks test {output.short(made.name)}")


@app.command("list")
def list_(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option(help="Filter, such as: disabled = true")] = "",
    order_by: Annotated[str, typer.Option(help="Sort order, such as: create_time desc")] = "",
    limit: Limit = 50,
) -> None:
    """List the project's webhooks."""
    session: Session = ctx.obj
    request = pb.ListWebhooksRequest(parent=session.parent, filter=filter, order_by=order_by)
    found = list(pages(session.notifier.ListWebhooks, request, "webhooks", limit))
    if session.json:
        output.print_list("webhooks", found)
        return
    rows = ((output.short(w.name), _standing(w), w.url, _types(w), output.when(w.last_success_time)) for w in found)
    output.table(("webhook", "state", "url", "events", "last success"), rows)


@app.command()
def show(ctx: typer.Context, webhook: Name) -> None:
    """Show a webhook."""
    session: Session = ctx.obj
    found = session.notifier.GetWebhook(pb.GetWebhookRequest(name=session.name("webhooks", webhook)))
    output.print_json(found) if session.json else _show(found)


@app.command()
def update(
    ctx: typer.Context,
    webhook: Name,
    url: Annotated[str | None, typer.Option(help="Where events are sent from now on.")] = None,
    event: Types = None,
    all_events: Annotated[bool, typer.Option("--all-events", help="Send all events again.")] = False,
    display_name: Annotated[str | None, typer.Option(help="Display name.")] = None,
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="Stop sending, or begin again.")] = None,
) -> None:
    """Change a webhook; one that was disabled after long failure is enabled again with --enable."""
    session: Session = ctx.obj
    if event and all_events:
        raise InvalidArgument("--event and --all-events exclude each other", field="event_types", remedy="Give one.")
    given = {
        "url": url, "event_types": [] if all_events else event, "display_name": display_name, "disabled": disable,
    }  # fmt: skip
    mask = [name for name, value in given.items() if value is not None]
    if not mask:
        raise InvalidArgument("Nothing was given to change", remedy="See `fiveshot webhooks update --help`.")
    fields = webhook_pb2.Webhook(
        name=session.name("webhooks", webhook), url=url or "", event_types=event or [],
        display_name=display_name or "", disabled=bool(disable),
    )  # fmt: skip
    request = pb.UpdateWebhookRequest(webhook=fields, update_mask=FieldMask(paths=mask))
    updated = session.notifier.UpdateWebhook(request)
    output.print_json(updated) if session.json else _show(updated)


@app.command()
def delete(ctx: typer.Context, webhook: Name) -> None:
    """Delete a webhook with its deliveries."""
    session: Session = ctx.obj
    name = session.name("webhooks", webhook)
    session.notifier.DeleteWebhook(pb.DeleteWebhookRequest(name=name))
    output.print_json({"deleted": name}) if session.json else output.say(f"Deleted {name}.")


@app.command()
def test(ctx: typer.Context, webhook: Name) -> None:
    """Send a test event now and tell what came of it."""
    session: Session = ctx.obj
    delivery = Webhooks(session.stubs).get(session.name("webhooks", webhook)).test()
    if session.json:
        output.print_json(delivery.message)
    if delivery.state != "succeeded":
        raise FailedPrecondition(
            f"The test failed: {delivery.problem}",
            reason="TEST_FAILED",
            remedy="Mend the receiver or the URL, and test again.",
        )
    if not session.json:
        output.say(f"The receiver answered {delivery.status_code}.")


@app.command()
def rotate(
    ctx: typer.Context,
    webhook: Name,
    overlap: Annotated[int, typer.Option(min=0, max=720, help="Hours for which the secret of now signs as well.")] = 24,
) -> None:
    """Give a webhook a new secret and print it once."""
    session: Session = ctx.obj
    request = pb.RotateWebhookSecretRequest(name=session.name("webhooks", webhook), overlap_hours=overlap)
    rotated = session.notifier.RotateWebhookSecret(request)
    output.print_json(rotated) if session.json else output.say(rotated.secret)


@app.command()
def deliveries(
    ctx: typer.Context,
    webhook: Name,
    filter: Annotated[str, typer.Option(help="Filter, such as: state = FAILED")] = "",
    limit: Limit = 50,
) -> None:
    """List what became of the events, newest first."""
    session: Session = ctx.obj
    request = pb.ListWebhookDeliveriesRequest(parent=session.name("webhooks", webhook), filter=filter)
    found = list(pages(session.notifier.ListWebhookDeliveries, request, "deliveries", limit))
    if session.json:
        output.print_list("deliveries", found)
        return
    rows = (
        (output.short(d.name), d.event_type.removeprefix("fiveshot."), _state(d), d.attempt_count, _last(d),
         output.when(d.create_time), output.when(d.next_attempt_time))
        for d in found
    )  # fmt: skip
    output.table(("delivery", "event", "state", ">attempts", "last attempt", "created", "next attempt"), rows)


@app.command()
def redeliver(
    ctx: typer.Context,
    webhook: Name,
    delivery: Annotated[str, typer.Argument(help="Id of the delivery.")],
) -> None:
    """Send an event again, under the same webhook-id."""
    session: Session = ctx.obj
    name = f"{session.name('webhooks', webhook)}/deliveries/{output.short(delivery)}"
    again = session.notifier.RedeliverWebhookDelivery(pb.RedeliverWebhookDeliveryRequest(name=name))
    output.print_json(again) if session.json else output.say(f"{name} is sent again.")


def _standing(webhook: webhook_pb2.Webhook) -> str:
    if webhook.disabled:
        return "disabled"
    return "failing" if webhook.HasField("failing_since") else "enabled"


def _types(webhook: webhook_pb2.Webhook) -> str:
    return ", ".join(name.removeprefix("fiveshot.") for name in webhook.event_types) or "all"


def _state(delivery: webhook_pb2.WebhookDelivery) -> str:
    return webhook_pb2.WebhookDelivery.State.Name(delivery.state).removeprefix("STATE_").lower()


def _last(delivery: webhook_pb2.WebhookDelivery) -> str:
    if not delivery.attempts:
        return ""
    last = delivery.attempts[-1]
    return last.message or str(last.status_code)


def _show(webhook: webhook_pb2.Webhook) -> None:
    output.facts(
        [
            ("name", webhook.name), ("display name", webhook.display_name), ("url", webhook.url),
            ("state", _standing(webhook)), ("why", webhook.disabled_reason), ("events", _types(webhook)),
            ("labels", labels.shown(webhook.labels)), ("failing since", output.when(webhook.failing_since)),
            ("last success", output.when(webhook.last_success_time)),
            ("old secret until", output.when(webhook.previous_secret_expire_time)),
            ("created", output.when(webhook.create_time)), ("changed", output.when(webhook.update_time)),
        ]
    )  # fmt: skip
