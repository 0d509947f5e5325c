# Made of fiveshot/aio/tagging.py by tools/sync_client.py; change that file.
"""Tag jobs: a tagger that goes over a dataset."""

from __future__ import annotations

from collections.abc import Iterator

from fiveshot.records import JobFailed, TagJobRecord
from fiveshot.sync.calls import Stubs
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api


class TagJob(TagJobRecord):
    """A run of a tagger over a dataset."""

    def __init__(self, stubs: Stubs, message: tagger_pb2.TagJob) -> None:
        super().__init__(message)
        self._stubs = stubs

    def watch(self) -> Iterator[TagJob]:
        """The job as it is now, then after each change until it ends, across lost connections."""
        request = tagger_api.WatchTagJobRequest(name=self.name)
        for message in self._stubs.channel.resumed(lambda: self._stubs.tagger.WatchTagJob(request)):
            self.message = message
            yield self

    def wait(self) -> TagJob:
        """Waits until it ends. Raises JobFailed when nothing could be done or it was cancelled."""
        for _ in self.watch():
            pass
        if self.state != "succeeded":
            raise JobFailed(
                self.message.error or f"The tag job {self.id} was {self.state}", reason="TAG_JOB_FAILED",
                remedy="Start it again.", metadata={"job": self.name},
            )  # fmt: skip
        return self

    def cancel(self) -> TagJob:
        """Ends it; what was tagged stays."""
        self.message = self._stubs.tagger.CancelTagJob(tagger_api.CancelTagJobRequest(name=self.name))
        return self
