# Made of fiveshot/aio/datasets.py by tools/sync_client.py; change that file.
"""Datasets: photos uploaded, tagged, captioned, frozen and trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import FiveshotError, InvalidArgument, NotFound
from fiveshot.folders import find_pictures
from fiveshot.mixes import trained_datasets
from fiveshot.parameters import DEFAULT_BASE_MODEL, all_wrong, training_parameters
from fiveshot.sync import archives, transfer
from fiveshot.sync.calls import Listing, Stubs
from fiveshot.sync.edits import EditedDataset
from fiveshot.sync.tagging import TagJob
from fiveshot.sync.training import TrainingJob
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as tagger_api
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as training_api
from fiveshot.transfers import PicturesRefused, Saved, Upload
from fiveshot.words import MODES, PURPOSES, TEXT_FROM, chosen, labelled, several
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

PathLike = str | os.PathLike[str]


class Dataset(EditedDataset):
    """A set of photos of one subject."""

    def refresh(self) -> Dataset:
        """Reads it anew."""
        self.message = self._stubs.dataset.GetDataset(pb.GetDatasetRequest(name=self.name))
        return self

    def update(
        self, *, trigger: str | None = None, subject: str | None = None, display_name: str | None = None,
        description: str | None = None, repeats: int | None = None, text_from: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Dataset:  # fmt: skip
        """Changes what is given. labels: instead of those that it has.

        Raises Aborted when somebody else has changed it since it was read.
        """
        given: dict[str, Any] = {
            "trigger_word": trigger, "subject": subject, "display_name": display_name, "description": description,
            "num_repeats": repeats, "labels": labelled(labels),
            "text_from": None if text_from is None else chosen(TEXT_FROM, text_from, "text_from"),
        }  # fmt: skip
        values = {name: value for name, value in given.items() if value is not None}
        changed = dataset_pb2.Dataset(name=self.name, etag=self.message.etag, **values)
        request = pb.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=list(values)))
        self.message = self._stubs.dataset.UpdateDataset(request)
        return self

    def upload(
        self,
        paths: PathLike | Sequence[PathLike],
        *,
        recursive: bool = False,
        captions: bool = True,
        folder_repeats: bool = True,
        update_captions: bool = False,
        parallel: int = 4,
        keep_order: bool = True,
        on_progress: transfer.OnProgress | None = None,
        strict: bool = True,
    ) -> Upload:
        """Uploads pictures, and those in folders and zip archives with their captions and repeats as common tools lay
        them out.

        recursive: enter folders in folders; those called `5_sks cat` always are, and their pictures are used 5 times.
        captions: read NAME.txt, NAME.caption, metadata.jsonl. update_captions: of pictures that are there already.
        parallel: so many at once. keep_order: False completes them as they come. strict: raise PicturesRefused, once
        all others are stored, when some are refused; False leaves them in the result.
        """
        given = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
        zipped = [path for path in given if archives.is_archive(path)]
        rest = [path for path in given if path not in zipped]
        found = find_pictures(rest, recursive=recursive, captions=captions, folder_repeats=folder_repeats)
        uploader = transfer.Uploader(
            self._stubs, self.name, parallel=parallel, keep_order=keep_order, update_present=update_captions,
            on_progress=on_progress,
        )  # fmt: skip
        result = uploader.upload(found.pictures)
        result.passed_over += found.passed_over
        for path in zipped:
            archives.upload_archive(
                self._stubs, self.name, path, result, captions=captions, folder_repeats=folder_repeats,
                update_present=update_captions,
                on_progress=on_progress,
            )  # fmt: skip
        self.refresh()
        if result.refused and strict:
            raise PicturesRefused.of(result)
        return result

    def tag(
        self,
        *,
        exclude: str | Sequence[str] = (),
        prepend: str | Sequence[str] = (),
        threshold: float | None = None,
        max_tags: int = 0,
        mode: str = "append",
        tagger: str = "",
        captioner: str = "",
        purpose: str = "thing",
        avoid: str | Sequence[str] = (),
        token_limit: int = 0,
        filter: str = "",
        dry_run: bool = False,
        labels: Mapping[str, str] | None = None,
        wait: bool = True,
        **options: Any,
    ) -> TagJob:
        """Tags its photos: the trigger word, the subject and `prepend` first, then what the tagger sees.

        exclude: labels to leave out; `*` stands for any text. threshold: least score, 0 to 1. max_tags: 0 is 30.
        mode: `append`, `skip` (photos that have tags) or `overwrite-auto`. options: further fields of TagOptions.
        captioner: writes captions instead of tags, for a `purpose` (`thing`, `person`, `style`), with the subject in
        them and without what to `avoid`, within the base model's token_limit; 0 is none. wait: until it ends; False
        returns at once.
        """
        options_given: Mapping[str, Any] = {
            "prepend_trigger_word": True, "exclude": several(exclude), "prepend": several(prepend),
            "max_tags": max_tags, "mode": chosen(MODES, mode, "mode"), "threshold": threshold,
            "tagger": self._stubs.channel.endpoint.resource("taggers", tagger) if tagger else "", **options,
        }  # fmt: skip
        if captioner:
            chosen_purpose = chosen(PURPOSES, purpose, "purpose")
            caption = tagger_pb2.CaptionOptions(purpose=chosen_purpose, avoid=several(avoid), token_limit=token_limit)
            name = self._stubs.channel.endpoint.resource("taggers", captioner)
            options_given = {**options_given, "captioner": name, "caption": caption}
        unknown = sorted(options.keys() - tagger_pb2.TagOptions.DESCRIPTOR.fields_by_name.keys())
        if unknown:
            raise InvalidArgument(
                f"{', '.join(unknown)} is no option of tagging", field=unknown[0], reason="OPTION_UNKNOWN",
                remedy=f"Use one of {', '.join(sorted(tagger_pb2.TagOptions.DESCRIPTOR.fields_by_name))}.",
            )  # fmt: skip
        request = tagger_api.TagImagesRequest(
            parent=_project(self.name), dataset=self.name, options=tagger_pb2.TagOptions(**options_given),
            filter=filter, dry_run=dry_run, labels=labelled(labels),
        )  # fmt: skip
        job = TagJob(self._stubs, self._stubs.tagger.TagImages(request))
        return job.wait() if wait else job

    def freeze(self, description: str = "", *, labels: Mapping[str, str] | None = None) -> dataset_pb2.DatasetVersion:
        """A version that never changes but for its labels: which photos, with which texts, in which order."""
        request = pb.CreateDatasetVersionRequest(parent=self.name, description=description, labels=labelled(labels))
        return self._stubs.dataset.CreateDatasetVersion(request)

    def versions(self, filter: str = "") -> Listing[dataset_pb2.DatasetVersion]:
        """Its frozen versions, the newest first. filter: such as `labels.team = "pets"`."""
        request = pb.ListDatasetVersionsRequest(parent=self.name, filter=filter)
        return Listing(self._stubs.dataset.ListDatasetVersions, request, "versions", lambda each: each)

    def label_version(self, version: int, labels: Mapping[str, str]) -> dataset_pb2.DatasetVersion:
        """Gives a frozen version (its number) other labels; nothing else of it changes."""
        given = dataset_pb2.DatasetVersion(name=f"{self.name}/versions/{version}", labels=labelled(labels))
        request = pb.UpdateDatasetVersionRequest(dataset_version=given, update_mask=FieldMask(paths=["labels"]))
        return self._stubs.dataset.UpdateDatasetVersion(request)

    def export(
        self, to: PathLike | None = None, *, version: int | None = None, layout: str = "kohya", overwrite: bool = True
    ) -> Saved:
        """Writes a frozen version as a zip archive: originals, final texts, repeats, crops.

        to: a file, or a folder; None is the working folder. version: its number; the newest by default. layout:
        `kohya` or `imagefolder`. Raises NotFound when nothing is frozen yet, AlreadyExists without `overwrite`.
        """
        number = version or self._newest_version()
        request = pb.ExportDatasetVersionRequest(name=f"{self.name}/versions/{number}", layout=layout)
        name = f"{self.name.rpartition('/')[2]}-v{number}-{layout}.zip"
        fetch = self._stubs.dataset.ExportDatasetVersion
        return transfer.save(self._stubs.channel, lambda: fetch(request), to, name=name, overwrite=overwrite)

    def _newest_version(self) -> str:
        request = pb.ListDatasetVersionsRequest(parent=self.name, page_size=1)
        for version in (self._stubs.dataset.ListDatasetVersions(request)).versions:
            return version.name.rpartition("/")[2]
        raise NotFound(f"{self.name} has no version", reason="RESOURCE_NOT_FOUND", remedy="Freeze it first.")

    def train(
        self,
        *,
        epochs: int | None = None,
        prompts: str | Sequence[str] = (),
        base_model: str = DEFAULT_BASE_MODEL,
        id: str = "",
        display_name: str = "",
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        version: int | None = None,
        initial_lora: str = "",
        also: Mapping[str, float] | str | Sequence[str] = (),
        regularization: str | Sequence[str] = (),
        **parameters: Any,
    ) -> TrainingJob:
        """Queues a training job on the photos as they are now, or on a frozen version (its number).

        prompts: of the previews, up to eight; missing ones are derived. initial_lora: an earlier LoRA to go on from:
        `cat@2`, `cat` for its latest version, or an epoch's name. also: datasets to train with this one, as `["mia"]`,
        or `{"mia": 0.5}` for half as many steps. regularization: datasets of pictures of what the base model should
        stay as. parameters: any field of TrainingParameters, such as rank=16. Raises InvalidArgument that names every
        wrong one.
        """
        job, wrong = self._job(base_model, version, initial_lora, {"num_epochs": epochs, **parameters}, prompts)
        job.display_name, job.priority = display_name, priority
        job.labels.update(labelled(labels) or {})
        self._mix(job, also, regularization)
        request = training_api.CreateTrainingJobRequest(
            parent=_project(self.name), training_job_id=id, training_job=job, validate_only=bool(wrong)
        )
        self._refuse(wrong, self._stubs.trainer.CreateTrainingJob, request)
        return TrainingJob(self._stubs, self._stubs.trainer.CreateTrainingJob(request))

    def estimate(
        self, *, epochs: int | None = None, base_model: str = DEFAULT_BASE_MODEL, version: int | None = None,
        initial_lora: str = "", also: Mapping[str, float] | str | Sequence[str] = (),
        regularization: str | Sequence[str] = (), **parameters: Any,
    ) -> training_job_pb2.TrainingEstimate:  # fmt: skip
        """What a job would take, asked for as in `train`: exact steps, time, memory, and whether it fits."""
        job, wrong = self._job(base_model, version, initial_lora, {"num_epochs": epochs, **parameters}, ())
        self._mix(job, also, regularization)
        request = training_api.EstimateTrainingJobRequest(parent=_project(self.name), training_job=job)
        self._refuse(wrong, self._stubs.trainer.EstimateTrainingJob, request)
        return self._stubs.trainer.EstimateTrainingJob(request)

    def delete(self, *, force: bool = False) -> None:
        """Deletes it. force: with the images that frozen versions hold."""
        self._stubs.dataset.DeleteDataset(pb.DeleteDatasetRequest(name=self.name, force=force))

    def _mix(
        self,
        job: training_job_pb2.TrainingJob,
        also: Mapping[str, float] | str | Sequence[str],
        regularization: str | Sequence[str],
    ) -> None:
        resource = self._stubs.channel.endpoint.resource
        job.datasets.extend(trained_datasets(job.dataset_version, also, regularization, resource))

    def _job(
        self,
        base_model: str,
        version: int | None,
        initial_lora: str,
        parameters: Mapping[str, Any],
        prompts: str | Sequence[str],
    ) -> tuple[training_job_pb2.TrainingJob, list[InvalidArgument]]:
        """A job, and the parameters that are wrong."""
        endpoint = self._stubs.channel.endpoint
        given, wrong = training_parameters(parameters, several(prompts))
        job = training_job_pb2.TrainingJob(
            base_model=endpoint.resource("baseModels", base_model),
            initial_lora=endpoint.lora(initial_lora) if initial_lora else "",
            dataset_version=self.name if version is None else f"{self.name}/versions/{version}",
            parameters=given,
        )
        return job, wrong

    def _refuse(self, wrong: Sequence[InvalidArgument], call: Callable[[Any], Any], request: Message) -> None:
        """Raises InvalidArgument for what is wrong, with what the server finds wrong with the rest of the request."""
        if not wrong:
            return
        try:
            call(request)
        except FiveshotError as error:
            raise all_wrong(wrong, error) from error
        raise all_wrong(wrong)


class Datasets:
    """The datasets of a project."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    def create(
        self, id: str = "", *, trigger: str = "", subject: str = "", display_name: str = "", description: str = "",
        repeats: int = 0, text_from: str = "caption-or-tags", labels: Mapping[str, str] | None = None,
    ) -> Dataset:  # fmt: skip
        """An empty dataset. id: chosen by the server when empty. trigger: the word that stands for the subject.

        subject: what the photos show, such as `gray cat`: the text of photos without any, first among their tags, and
        what captions name and previews ask for. repeats: of each photo per epoch; 0 is 1.
        text_from: what is trained of a photo's words: `caption-or-tags`, `caption`, `caption-and-tags` or `tags`.
        """
        fields = dataset_pb2.Dataset(
            display_name=display_name, description=description, trigger_word=trigger, subject=subject,
            num_repeats=repeats, labels=labelled(labels), text_from=chosen(TEXT_FROM, text_from, "text_from"),
        )  # fmt: skip
        request = pb.CreateDatasetRequest(parent=self._endpoint.parent, dataset_id=id, dataset=fields)
        return Dataset(self._stubs, self._stubs.dataset.CreateDataset(request))

    def get(self, dataset: str) -> Dataset:
        """One by id or full name. Raises NotFound."""
        request = pb.GetDatasetRequest(name=self._endpoint.resource("datasets", dataset))
        return Dataset(self._stubs, self._stubs.dataset.GetDataset(request))

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[Dataset]:
        """Those that match an AIP-160 filter, the newest first."""
        request = pb.ListDatasetsRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        return Listing(self._stubs.dataset.ListDatasets, request, "datasets", lambda each: Dataset(self._stubs, each))


def _project(name: str) -> str:
    return "/".join(name.split("/")[:2])
