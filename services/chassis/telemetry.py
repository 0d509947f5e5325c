"""Metrics of a process (Prometheus)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server

from services.chassis.addresses import split_host_port

BUILD = Gauge("fiveshot_build_info", "The release that runs; always 1.", ("service", "release"))
_WORD = re.compile(r"[A-Z][A-Z0-9_]{1,47}")
_MOST_WORDS = 100

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A counter in the process's registry. Call it once, at module level."""
    return Counter(name, documentation, labels)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge in the process's registry. Call it once, at module level."""
    return Gauge(name, documentation, labels)


def histogram(
    name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = LATENCY_BUCKETS_S
) -> Histogram:
    """A histogram in the process's registry, by default with buckets for seconds."""
    return Histogram(name, documentation, labels, buckets=buckets)


LONG_BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 43_200.0, 172_800.0)
"""For what takes from seconds to days."""


class Words:
    """Label values that others choose, such as the reason of an error: bounded, because each makes a series of its own.

    What is no UPPER_SNAKE word, and every word after the first hundred, counts as OTHER.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, word: str) -> str:
        if word in self._known:
            return word
        if len(self._known) >= _MOST_WORDS or not _WORD.fullmatch(word):
            return "OTHER"
        self._known.add(word)
        return word


@contextmanager
def timing(histogram: Histogram, *labels: str) -> Iterator[None]:
    """Observes the seconds of the block, however it ends."""
    started = time.perf_counter()
    try:
        yield
    finally:
        (histogram.labels(*labels) if labels else histogram).observe(time.perf_counter() - started)


class MetricsEndpoint:
    """The `/metrics` page of the process, on its own small HTTP server in a thread."""

    def __init__(self, listen: str) -> None:
        host, port = split_host_port(listen)
        self._server, self._thread = start_http_server(port, addr=host, registry=REGISTRY)

    @property
    def port(self) -> int:
        """The bound port, of use when the settings asked for port 0."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops serving and waits for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
