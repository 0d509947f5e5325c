"""Tag jobs: a tagger that goes over a dataset."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fiveshot.aio.calls import Stubs
from fiveshot.records import JobFailed, TagJobRecord
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api


class TagJob(TagJobRecord):
    """A run of a tagger over a dataset."""

    def __init__(self, stubs: Stubs, message: tagger_pb2.TagJob) -> None:
        super().__init__(message)
        self._stubs = stubs

    async def watch(self) -> AsyncIterator[TagJob]:
        """The job as it is now, then after each change until it ends, across lost connections."""
        request = tagger_api.WatchTagJobRequest(name=self.name)
        async for message in self._stubs.channel.resumed(lambda: self._stubs.tagger.WatchTagJob(request)):
            self.message = message
            yield self

    async def wait(self) -> TagJob:
        """Waits until it ends. Raises JobFailed when nothing could be done or it was cancelled."""
        async for _ in self.watch():
            pass
        if self.state != "succeeded":
            raise JobFailed(
                self.message.error or f"The tag job {self.id} was {self.state}", reason="TAG_JOB_FAILED",
                remedy="Start it again.", metadata={"job": self.name},
            )  # fmt: skip
        return self

    async def cancel(self) -> TagJob:
        """Ends it; what was tagged stays."""
        self.message = await self._stubs.tagger.CancelTagJob(tagger_api.CancelTagJobRequest(name=self.name))
        return self
