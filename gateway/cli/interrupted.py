"""What a Ctrl-C leaves at work, and how to follow it. It may come before anything is loaded: nothing is imported here
that takes a moment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_WATCHED = {("train", "watch"): "train", ("tag-jobs", "watch"): "tag-jobs"}
_FOLLOWED = ("train", "metrics", "--follow")


def job_goes_on(noun: str, job: str) -> str:
    """Of the commands `fiveshot NOUN …`. job: its id as a person types it; "" is the last one."""
    named = f" {job}" if job else ""
    return f"The job goes on. Follow it: fiveshot {noun} watch{named}. End it: fiveshot {noun} cancel{named}."


def left_at_work(words: Sequence[str]) -> str:
    """What a command line that nobody has read yet would have followed; "" where it would begin everything itself."""
    for place, pair in enumerate(pairwise(words)):
        if noun := _WATCHED.get(pair):
            rest = words[place + 2 :]
            # An option's value and a job look alike before the options are known.
            return job_goes_on(noun, "JOB" if any(word.startswith("-") for word in rest) else "".join(rest[:1]))
    if all(word in words for word in _FOLLOWED):
        return job_goes_on("train", "JOB")
    return ""
