"""What callers of the fleet call about: a dataset that can be trained on."""

from __future__ import annotations

from collections.abc import Iterator

from fiveshot.aio.client import AsyncClient
from fiveshot.dataset.v1 import dataset_service_pb2 as ds

from tests.chaos.callers import DATASET, PARENT, picture


async def prepare(client: AsyncClient) -> None:
    """Makes the dataset, with five pictures."""
    stubs = client.stubs
    await stubs.dataset.CreateDataset(ds.CreateDatasetRequest(parent=PARENT, dataset_id="cat"))

    def messages(number: int) -> Iterator[ds.UploadImageRequest]:
        yield ds.UploadImageRequest(header=ds.UploadImageHeader(parent=DATASET, file_name=f"{number}.png"))
        yield ds.UploadImageRequest(chunk=picture())

    for number in range(5):
        await stubs.dataset.UploadImage(messages(number))
