"""The verbs of the dataset service over the fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from services.chassis.byte_budget import ByteBudget
from services.chassis.listing.pages import PageTokens
from services.dataset.models.checks import Limits
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import Dataset, DatasetFields, Image
from services.dataset.use_cases.datasets import DatasetVerbs, NewDataset
from services.dataset.use_cases.edits import EditVerbs
from services.dataset.use_cases.image_batches import ImageBatches
from services.dataset.use_cases.images import ImageVerbs
from services.dataset.use_cases.intake import Intake
from services.dataset.use_cases.mask_intake import MaskIntake
from services.dataset.use_cases.masks import MaskVerbs
from services.dataset.use_cases.projects import ProjectVerbs
from services.dataset.use_cases.tags import TagVerbs
from services.dataset.use_cases.upkeep import Upkeep
from services.dataset.use_cases.uploads import UploadHeader, UploadVerb
from services.dataset.use_cases.versions import VersionVerbs
from tests.fakes.dataset import FakeClock, FakeDatasetStore, FakePictureStore
from tests.fakes.decoder import InlineDecoder
from tests.fakes.pictures import png

SET = DatasetRef("acme", "dogs")


@dataclass
class Service:
    """Everything a test of the use cases needs."""

    store: FakeDatasetStore
    pictures: FakePictureStore
    clock: FakeClock
    upkeep: Upkeep
    datasets: DatasetVerbs
    uploads: UploadVerb
    images: ImageVerbs
    tags: TagVerbs
    versions: VersionVerbs
    batches: ImageBatches
    masks: MaskVerbs
    edits: EditVerbs
    projects: ProjectVerbs

    async def new_set(self, **fields: object) -> Dataset:
        """The dataset `projects/acme/datasets/dogs`."""
        wanted = NewDataset("acme", "dogs", DatasetFields(**fields))  # type: ignore[arg-type]
        return await self.datasets.create(wanted)

    async def add(self, seed: int = 0, *, name: str = "", data: bytes | None = None, **header: object) -> Image:
        """Uploads a picture in two chunks."""
        return await self.uploads.upload(
            upload(png(seed=seed) if data is None else data, file_name=name or f"{seed}.png", **header)
        )

    def nothing_stored(self) -> bool:
        """Whether there is neither a row nor a byte nor a note of an image."""
        state = self.store.state
        sets = state.datasets.values()
        rows = [state.images, state.requests, state.keys, self.pictures.objects]
        return not any(rows) and all(found.image_count == 0 and found.revision == 1 for found in sets)


async def upload(data: bytes, *, file_name: str = "a.png", **header: object) -> AsyncIterator[UploadHeader | bytes]:
    """The stream of an upload: header and two chunks."""
    yield UploadHeader(SET, file_name, **header)  # type: ignore[arg-type]
    half = len(data) // 2
    yield data[:half]
    yield data[half:]


def build(limits: Limits, *, idle_s: float = 5.0, budget: ByteBudget | None = None) -> Service:
    """The service over empty fakes."""
    store, pictures, clock = FakeDatasetStore(), FakePictureStore(), FakeClock()
    tokens = PageTokens()
    upkeep = Upkeep(store, pictures, clock, remember_requests=timedelta(days=7))
    uploads = UploadVerb(
        store,
        pictures,
        Intake(limits, InlineDecoder()),
        upkeep,
        clock,
        budget or ByteBudget(total=1 << 30, per_project=1 << 30),
        limits=limits,
        idle_s=idle_s,
        reservation=timedelta(minutes=15),
    )
    return Service(
        store=store,
        pictures=pictures,
        clock=clock,
        upkeep=upkeep,
        datasets=DatasetVerbs(store, upkeep, clock, tokens),
        uploads=uploads,
        images=ImageVerbs(store, pictures, upkeep, clock, tokens),
        tags=TagVerbs(store, clock),
        versions=VersionVerbs(store, upkeep, clock, tokens),
        batches=ImageBatches(store, upkeep, clock),
        masks=MaskVerbs(
            store,
            pictures,
            MaskIntake(limits, InlineDecoder()),
            upkeep,
            clock,
            budget or ByteBudget(total=1 << 30, per_project=1 << 30),
            limits=limits,
            idle_s=idle_s,
            reservation=timedelta(minutes=15),
        ),
        edits=EditVerbs(store, clock),
        projects=ProjectVerbs(store, tokens),
    )


@pytest.fixture
def service() -> Service:
    """The service with the product's limits."""
    return build(Limits())
