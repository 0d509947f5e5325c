"""What the notifier reads from its environment; every variable starts with NOTIFIER_."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from services.chassis.setting_types import AuthorityFile, Listed
from services.chassis.settings import AuditSettings, BaseServiceSettings, BudgetSettings, ListSettings, service_config
from services.chassis.store_settings import NatsClientSettings, SqlSettings
from services.notifier.models.addresses import parse_networks


class Settings(SqlSettings, ListSettings, NatsClientSettings, BudgetSettings, AuditSettings, BaseServiceSettings):
    """Frozen; read by app.py alone."""

    model_config = service_config("NOTIFIER_")

    database_url: str = Field(
        "sqlite+aiosqlite:///./notifier.db", description="sqlite+aiosqlite:///FILE or postgresql+psycopg://..."
    )
    budget_webhooks: int = Field(20, ge=0, description="webhooks of each project; 0: no limit")
    allowed_networks: Listed = Field(
        default_factory=list,
        description="private networks that events may be sent to, also by http, such as 10.1.0.0/16; "
        "several with commas or as a JSON list; empty: public addresses by https only",
    )
    ca_file: AuthorityFile = Field(None, description="PEM file of further authorities that receivers may be signed by")
    attempt_timeout_s: float = Field(15.0, ge=1, le=120, description="seconds that one attempt may take")
    attempts_at_once: int = Field(32, ge=1, le=1000, description="attempts at the same time")
    attempts_per_webhook: int = Field(4, ge=1, le=100, description="attempts at the same time of one webhook")
    retry_first_s: float = Field(
        5.0, ge=1, description="seconds before the second attempt; each pause is 4 times the last"
    )
    retry_longest_s: float = Field(7200.0, ge=1, description="seconds of the longest pause between two attempts")
    give_up_hours: float = Field(24.0, ge=0.01, le=24 * 30, description="hours after which a delivery is given up")
    disable_after_hours: float = Field(
        72.0, ge=0.1, description="hours of nothing but failures after which a webhook is disabled"
    )
    keep_deliveries_days: float = Field(30.0, ge=0.01, description="days for which a delivery is kept after its end")
    ack_wait_s: float = Field(
        30.0, ge=1, le=600, description="seconds after which the stream sends an event again that nobody confirmed"
    )
    sweep_interval_s: float = Field(600.0, ge=1, description="seconds between two rounds of tidying")
    remember_requests_days: int = Field(7, ge=1, le=365, description="days for which a request_id is remembered")

    @model_validator(mode="after")
    def _pauses_grow(self) -> Self:
        if self.retry_first_s > self.retry_longest_s:
            raise ValueError("retry_longest_s must be at least retry_first_s")
        if self.retry_first_s > self.give_up_hours * 3600:
            raise ValueError("give_up_hours ends before retry_first_s, so no delivery would get a second attempt")
        return self

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        parse_networks(value)
        return value
