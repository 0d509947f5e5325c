"""Usage as events: what a meter adds up, in the form that OpenMeter reads.

A CloudEvent of type `fiveshot.usage.METER` whose subject is the project and whose data holds numbers. Its id follows
from what was used, so that writing or sending it again counts once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.chassis.cloud_events import event_subject
from services.chassis.outbox import USAGE, stable_id


def usage_event(
    service: str, meter: str, *, project: str, source: str, of: str, data: Mapping[str, object]
) -> dict[str, Any]:
    """The arguments of `Outbox.append`.

    service: that meters. meter: `gpu_seconds`. source: name of the resource that used it. of: what was used, the same
    at each try and never again (an attempt, an hour). data: numbers, and names as strings.
    """
    return {
        "aggregate": f"{source}{USAGE}{of}",
        "sequence": 1,
        "id": stable_id(meter, source, of),
        "type": f"fiveshot.usage.{meter}",
        "subject": event_subject(project, "usage", service, meter),
        "source": source,
        "payload": json.dumps({"project": f"projects/{project}", **data}, separators=(",", ":")),
    }
