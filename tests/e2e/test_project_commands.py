"""What a project has been through, by the command line and the Python client: tag jobs, clean-ups, projects."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from fiveshot import Client
from fiveshot.errors import InvalidArgument

from gateway.cli import output
from tests.fixtures.running_stack import RunningStack


def test_tag_jobs_are_listed_shown_repeated_and_deleted(pretending: RunningStack, photos: Path) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("tagged-twice", trigger="sks", subject="toy")
        ds.upload(photos)
        job = ds.tag().name.rpartition("/")[2]
    run = pretending.command
    listed = json.loads(run("--json", "tag-jobs", "list", "--filter", 'dataset = "tagged-twice"').stdout)["tagJobs"]
    assert [each["name"] for each in listed] == [f"projects/default/tagJobs/{job}"]
    shown = run("tag-jobs", "show", job)
    assert (shown.exit_code, "5 of 5" in shown.stdout) == (output.OK, True), shown.output
    assert run("tag-jobs", "watch", job).exit_code == output.OK
    for move, reason in (("cancel", "TAG_JOB_ENDED"), ("retry", "NOTHING_TO_RETRY")):
        done = run("tag-jobs", move, job)
        assert (done.exit_code, f"[{reason}" in done.stderr) == (output.STATE, True), done.output
    assert run("tag-jobs", "delete", job).exit_code == output.OK
    gone = run("tag-jobs", "show", job)
    assert (gone.exit_code, len(gone.stderr.splitlines())) == (output.NOT_FOUND, 1), gone.output


def test_a_project_is_cleaned_up_and_found_among_those_of_its_key(pretending: RunningStack, photos: Path) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("left-behind", trigger="sks", subject="toy")
        ds.upload(photos)
        job = ds.train(epochs=3)
        job.wait()
        would = {each.kind: each for each in fs.clean_up(older_than=0, dry_run=True)}
        assert (would["epochs"].count, would["epochs"].size_bytes > 0) == (would["epochs"].message.count, True)
        assert would["epochs"].oldest is not None
        assert would["successful-jobs"].lifetime == timedelta(days=365)
        assert len(job.epochs.all()) == 3, "a dry run deletes nothing"
        went = {each.kind: each.count for each in fs.clean_up(older_than=0)}
        assert went["epochs"] == would["epochs"].count >= 2
        assert [epoch.id for epoch in job.epochs] == ["3"]
        with pytest.raises(InvalidArgument) as refused:
            fs.clean_up(older_than=-1)
        assert refused.value.field == "older_than"

        mine = {each.name: each.dataset_count for each in fs.projects()}
        assert list(mine) == ["projects/default"]
        assert mine["projects/default"] == len(fs.datasets.list().all())
    told = json.loads(pretending.command("--json", "project", "list").stdout)["projects"]
    assert [each["name"] for each in told] == ["projects/default"]
    report = json.loads(pretending.command("--json", "project", "clean-up", "--older-than", "0").stdout)
    assert (report["deleted"], {each["kind"]: each["count"] for each in report["kinds"]}["epochs"]) == (False, 0)
