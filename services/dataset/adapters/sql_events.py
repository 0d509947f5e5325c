"""The dataset's part of the event log. Images are told in bulk: their changes are noted, and become events together."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.cloud_events import event_subject
from services.chassis.outbox import Outbox
from services.chassis.sql import Database, utcnow
from services.dataset.adapters.sql_reader import of_dataset
from services.dataset.adapters.sql_tables import datasets, image_notes
from services.dataset.models.events import DatasetEvent, ImageChange, images_changed
from services.dataset.models.names import DatasetRef, ImageRef
from services.dataset.proto_mapping.events import event_payload, event_type


async def note(conn: AsyncConnection, ref: ImageRef, change: ImageChange) -> None:
    """Notes what became of an image of a locked dataset, to be told with those of the same seconds."""
    values = {"project": ref.dataset.project, "dataset_id": ref.dataset.dataset, "image_id": ref.image}
    await conn.execute(insert(image_notes).values(**values, change=change, noted_at=utcnow()))


async def tell(conn: AsyncConnection, outbox: Outbox, ref: DatasetRef, event: DatasetEvent) -> None:
    """Appends an event of a locked dataset, after those of the images that were noted before."""
    await tell_noted(conn, outbox, ref)
    await _append(conn, outbox, ref, event)


async def tell_noted(conn: AsyncConnection, outbox: Outbox, ref: DatasetRef) -> int:
    """Turns what was noted of a locked dataset's images into events and returns how many."""
    columns = image_notes.c
    mine = select(columns.image_id, columns.change).where(of_dataset(image_notes, ref)).order_by(columns.position)
    noted = [(row.image_id, ImageChange(row.change)) for row in await conn.execute(mine)]
    if not noted:
        return 0
    await conn.execute(delete(image_notes).where(of_dataset(image_notes, ref)))
    count = await conn.scalar(select(datasets.c.image_count).where(of_dataset(datasets, ref)))
    told = images_changed(noted, count or 0)
    for event in told:
        await _append(conn, outbox, ref, event)
    return len(told)


async def tell_settled(db: Database, outbox: Outbox, *, quiet: timedelta, longest: timedelta) -> int:
    """Tells of images that nobody has changed for a while, or that have waited long; returns how many events."""
    columns, now = image_notes.c, utcnow()
    settled = or_(func.max(columns.noted_at) <= now - quiet, func.min(columns.noted_at) <= now - longest)
    due = select(columns.project, columns.dataset_id).group_by(columns.project, columns.dataset_id).having(settled)
    async with db.connect() as conn:
        refs = [DatasetRef(row.project, row.dataset_id) for row in await conn.execute(due)]
    told = 0
    for ref in refs:
        async with db.begin() as conn:
            # Another change of the dataset waits, or has told what was noted.
            await conn.execute(select(datasets.c.dataset_id).where(of_dataset(datasets, ref)).with_for_update())
            told += await tell_noted(conn, outbox, ref)
        outbox.signals.notify(ref.name)
    return told


async def _append(conn: AsyncConnection, outbox: Outbox, ref: DatasetRef, event: DatasetEvent) -> None:
    kind = event_type(event)
    await outbox.append(
        conn,
        aggregate=ref.name,
        type=f"fiveshot.dataset.{kind}",
        subject=event_subject(ref.project, "datasets", ref.dataset, kind),
        source=ref.name,
        payload=lambda event_id, sequence, moment: event_payload(
            event, ref, event_id=event_id, sequence=sequence, moment=moment
        ),
    )
