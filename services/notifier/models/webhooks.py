"""A webhook: where a project's events go, what they are filtered by, and what of it may change. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis.errors import FailedPrecondition
from services.chassis.names import ResourceName, check_mask, etag_of

PROJECT_NAME = ResourceName("projects/{project}")
WEBHOOK_NAME = ResourceName("projects/{project}/webhooks/{webhook}")
EDITABLE = ("display_name", "url", "event_types", "disabled", "labels")
OVERLAP_HOURS = 24


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it is kept.

    uid: differs when a webhook of the same id is deleted and made again. disabled_reason: of the service, "" when it
    did not disable it. failing_since: of the first attempt that failed after the last that did not. secret,
    previous_secret: `whsec_…`; the second signs as well until previous_until. revision: counts changes of settings.
    """

    project: str
    webhook_id: str
    uid: str
    display_name: str
    url: str
    event_types: tuple[str, ...]
    disabled: bool
    disabled_reason: str
    secret: str
    previous_secret: str
    previous_until: datetime | None
    failing_since: datetime | None
    last_success_time: datetime | None
    revision: int
    create_time: datetime
    update_time: datetime
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`projects/{project}/webhooks/{webhook}`."""
        return WEBHOOK_NAME.format(project=self.project, webhook=self.webhook_id)

    @property
    def etag(self) -> str:
        """Changes with every change of the settings."""
        return etag_of(self.uid, self.revision)

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """What signs at this moment, the present secret first."""
        older = self.previous_until is not None and now < self.previous_until
        return (self.secret, self.previous_secret) if older else (self.secret,)


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What a webhook is made from, and the values of an update."""

    project: str
    webhook_id: str
    display_name: str
    url: str
    event_types: tuple[str, ...] = ()
    disabled: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WebhookChanges:
    """New values of the fields that change; None leaves a field alone."""

    display_name: str | None = None
    url: str | None = None
    event_types: tuple[str, ...] | None = None
    disabled: bool | None = None
    labels: Mapping[str, str] | None = None


def changed_fields(mask: Collection[str], given: NewWebhook) -> WebhookChanges:
    """The changes that an update asks for: the masked fields, or all that are set when there is no mask.

    Raises InvalidArgument for a field that cannot be changed.
    """
    check_mask(mask, EDITABLE)
    wanted = set(EDITABLE) if "*" in mask else set(mask) or {path for path in EDITABLE if getattr(given, path)}
    return WebhookChanges(
        display_name=(given.display_name or given.webhook_id) if "display_name" in wanted else None,
        url=given.url if "url" in wanted else None,
        event_types=given.event_types if "event_types" in wanted else None,
        disabled=given.disabled if "disabled" in wanted else None,
        labels=given.labels if "labels" in wanted else None,
    )


def check_enabled(webhook: Webhook) -> None:
    """Raises FailedPrecondition(WEBHOOK_DISABLED)."""
    if webhook.disabled:
        raise FailedPrecondition(
            f"{webhook.name} is disabled",
            field="name",
            reason="WEBHOOK_DISABLED",
            remedy="Enable it first: set its field 'disabled' to false.",
        )
