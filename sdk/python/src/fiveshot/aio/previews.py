"""Pictures of any epoch or model version with prompts of one's own: asked for, followed, read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fiveshot import pictures
from fiveshot.aio import transfer
from fiveshot.aio.calls import Listing, Stubs
from fiveshot.errors import FiveshotError
from fiveshot.records import JobFailed, M, PreviewRequestRecord, Record
from fiveshot.trainer.v1 import preview_request_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from fiveshot.words import several

if TYPE_CHECKING:
    from PIL.Image import Image


class Cell:
    """One picture of a preview request. Its bytes are fetched when they are asked for."""

    def __init__(self, stubs: Stubs, request: str, message: preview_request_pb2.PreviewCell) -> None:
        self._stubs, self._request = stubs, request
        self.message = message
        self.source, self.strength = message.source, message.strength
        self.prompt, self.seed = message.prompt, message.seed

    async def read(self) -> bytes:
        """The PNG, checked against its digest."""
        file = self.message.file
        return await transfer.content(
            self._stubs.channel, lambda: _chunks(self._stubs, self._request, file.file_id), sha256=file.sha256
        )  # fmt: skip

    async def image(self) -> Image:
        """The picture for Pillow. Raises FailedPrecondition (PILLOW_MISSING)."""
        return pictures.opened(await self.read())

    async def save(self, to: str | os.PathLike[str]) -> None:
        """Writes it; another ending than .png converts it, which needs Pillow."""
        pictures.write(await self.read(), Path(to))

    def __repr__(self) -> str:
        return f"<Cell {self.source} at {self.strength:g}, seed {self.seed}: {self.prompt}>"


class PreviewRequest(PreviewRequestRecord):
    """Pictures that a worker draws between two jobs, or of a job between two of its steps. Kept for a day."""

    def __init__(self, stubs: Stubs, message: preview_request_pb2.PreviewRequest) -> None:
        super().__init__(message)
        self._stubs = stubs

    @property
    def cells(self) -> list[Cell]:
        """What is drawn so far: by source, then strength, prompt and seed."""
        return [Cell(self._stubs, self.name, each) for each in self.message.cells]

    async def refresh(self) -> PreviewRequest:
        """Reads it anew."""
        self.message = await self._stubs.trainer.GetPreviewRequest(pb.GetPreviewRequestRequest(name=self.name))
        return self

    async def watch(self) -> AsyncIterator[PreviewRequest]:
        """Itself after each change until it ends, across lost connections."""

        def start() -> AsyncIterable[pb.WatchPreviewRequestResponse]:
            return self._stubs.trainer.WatchPreviewRequest(pb.WatchPreviewRequestRequest(name=self.name))

        async for answer in self._stubs.channel.resumed(start):
            self.message = answer.preview_request
            yield self

    async def wait(self, on_progress: Callable[[PreviewRequest], object] = lambda _: None) -> PreviewRequest:
        """Waits until it ends. Raises JobFailed with its own reason and remedy when it did not succeed.

        One that is attended is cancelled when this wait is broken off. on_progress: is told of each change.
        """
        try:
            async for _ in self.watch():
                on_progress(self)
        except BaseException:
            if self.message.attended:
                with contextlib.suppress(FiveshotError):
                    await self.cancel()
            raise
        if self.state != "succeeded":
            raise self.error or JobFailed(
                f"{self.id} was {self.state}", reason="PREVIEWS_CANCELLED", remedy="Ask again.",
                metadata={"preview_request": self.name},
            )  # fmt: skip
        return self

    async def cancel(self) -> PreviewRequest:
        """Ends it; pictures that are drawn are kept."""
        request = pb.CancelPreviewRequestRequest(name=self.name)
        self.message = await self._stubs.trainer.CancelPreviewRequest(request)
        return self

    async def delete(self) -> None:
        """Deletes it with its pictures, once it has ended; by itself it goes after a day."""
        await self._stubs.trainer.DeletePreviewRequest(pb.DeletePreviewRequestRequest(name=self.name))


class PreviewRequests:
    """The preview requests of a project; `epoch.try_out()` and `version.try_out()` make them too."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    async def create(
        self, sources: str | Sequence[str], prompts: str | Sequence[str], *, strengths: Sequence[float] = (),
        seeds: Sequence[int] = (), negative_prompt: str = "", size: tuple[int, int] | None = None, steps: int = 0,
        guidance: float | None = None, attended: bool = False,
    ) -> PreviewRequest:  # fmt: skip
        """Asks for a picture of every source at every strength with every prompt and seed.

        sources: full names of epochs and model versions, of one base model; or of one job that is at work, which is
        drawn as it stands now. strengths: 1 by default, 0 is the base model. seeds: 0 by default. size: width and
        height in pixels; the base model's own by default, as steps and guidance. attended: cancelled when nobody has
        watched it for half a minute. Raises InvalidArgument, NotFound, FailedPrecondition, ResourceExhausted.
        """
        width, height = size or (0, 0)
        asked = preview_request_pb2.PreviewRequest(
            sources=several(sources), prompts=several(prompts), strengths=strengths, seeds=seeds,
            negative_prompt=negative_prompt, width=width, height=height, steps=steps, guidance=guidance,
            attended=attended,
        )  # fmt: skip
        request = pb.RequestPreviewsRequest(parent=self._endpoint.parent, preview_request=asked)
        return PreviewRequest(self._stubs, await self._stubs.trainer.RequestPreviews(request))

    async def get(self, request: str) -> PreviewRequest:
        """One by id or full name. Raises NotFound."""
        name = self._endpoint.resource("previewRequests", request)
        message = await self._stubs.trainer.GetPreviewRequest(pb.GetPreviewRequestRequest(name=name))
        return PreviewRequest(self._stubs, message)

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[PreviewRequest]:
        """Those that match an AIP-160 filter such as `state = "RUNNING"`, the newest first."""
        request = pb.ListPreviewRequestsRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        return Listing(
            self._stubs.trainer.ListPreviewRequests, request, "preview_requests",
            lambda each: PreviewRequest(self._stubs, each),
        )  # fmt: skip


class TriedOut(Record[M]):
    """What can be drawn with prompts of one's own: an epoch, a model version, or a job as it stands now."""

    _stubs: Stubs

    async def try_out(
        self, prompts: str | Sequence[str], *, strengths: Sequence[float] = (), seeds: Sequence[int] = (),
        negative_prompt: str = "", size: tuple[int, int] | None = None, steps: int = 0, guidance: float | None = None,
        wait: bool = True,
    ) -> PreviewRequest:  # fmt: skip
        """Pictures of it with prompts of your own, at other strengths and seeds; of a job between two of its steps.

        The arguments are those of `previews.create`. wait: until they are drawn; breaking the wait off cancels them.
        Raises what `previews.create` raises, and JobFailed when they could not be drawn.
        """
        made = await PreviewRequests(self._stubs).create(
            [self.name], prompts, strengths=strengths, seeds=seeds, negative_prompt=negative_prompt, size=size,
            steps=steps, guidance=guidance, attended=wait,
        )  # fmt: skip
        return await made.wait() if wait else made


def _chunks(stubs: Stubs, request: str, file_id: str) -> AsyncIterable[Any]:
    return stubs.trainer.DownloadPreviewFile(pb.DownloadPreviewFileRequest(name=request, file_id=file_id))
