"""What a refusal names beside the field rules that are broken: see `chassis.further_checks`."""

from __future__ import annotations

from fiveshot.notifier.v1 import notifier_service_pb2 as pb

from services.chassis.further_checks import FurtherChecks, list_check
from services.chassis.listing.pages import PageTokens
from services.chassis.names import check_mask
from services.notifier.models.webhooks import EDITABLE
from services.notifier.ports import DELIVERIES, WEBHOOKS
from services.notifier.use_cases.webhooks import Webhooks


def further_checks(webhooks: Webhooks, tokens: PageTokens) -> FurtherChecks:
    """The checks of each request."""

    async def webhook(request: pb.CreateWebhookRequest | pb.UpdateWebhookRequest) -> None:
        given = request.webhook
        # Of an update the address is looked at only where there is one.
        wanted = given.url.strip() or (None if isinstance(request, pb.UpdateWebhookRequest) else "")
        await webhooks.checked(tuple(given.event_types), wanted)

    return FurtherChecks(
        {
            pb.ListWebhooksRequest: (list_check(WEBHOOKS, tokens),),
            pb.ListWebhookDeliveriesRequest: (list_check(DELIVERIES, tokens),),
            pb.CreateWebhookRequest: (webhook,),
            pb.UpdateWebhookRequest: (
                webhook,
                lambda request: check_mask(request.update_mask.paths, EDITABLE),
            ),
        }
    )
