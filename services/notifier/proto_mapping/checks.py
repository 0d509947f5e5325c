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

    async def created(request: pb.CreateWebhookRequest) -> None:
        await webhooks.checked(tuple(request.webhook.event_types), request.webhook.url.strip())

    async def updated(request: pb.UpdateWebhookRequest) -> None:
        given, mask = request.webhook, set(request.update_mask.paths)
        url = given.url.strip() if "url" in mask or (given.url and mask <= {"*"}) else None
        types = given.event_types if "event_types" in mask or mask <= {"*"} else ()
        await webhooks.checked(tuple(types), url)

    return FurtherChecks(
        {
            pb.ListWebhooksRequest: (list_check(WEBHOOKS, tokens),),
            pb.ListWebhookDeliveriesRequest: (list_check(DELIVERIES, tokens),),
            pb.CreateWebhookRequest: (created,),
            pb.UpdateWebhookRequest: (
                updated,
                lambda request: check_mask(request.update_mask.paths, EDITABLE),
            ),
        }
    )
