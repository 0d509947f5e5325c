"""The taggers of a deployment: which there are, which is the default, and several of them as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from services.chassis.errors import DomainError, InvalidArgument, NotFound
from services.tagger.models.jobs import TagJob
from services.tagger.models.pictures import OBJECT, Category, Kind, Picture, Scores, TaggerInfo
from services.tagger.models.tags import TagOptions
from services.tagger.ports import (
    Backend,
    Captioner,
    FeatureFinder,
    MaskFinder,
    Shelf,
    SubjectFinder,
    Tagger,
    TaggerSource,
)

INSTALL_NOTE = (
    "For more words offline, the operator can add the folder of a WD v3 tagger (model.onnx and selected_tags.csv) with "
    "`fiveshot taggers add FOLDER`."
)
CAPTIONER_NOTE = (
    "The operator can add the folder of a captioner (captioner.toml) with `fiveshot taggers add FOLDER`; no picture is "
    "sent anywhere before."
)
MEASURED_ONLY_NOTE = f"These tags were measured from the pixels; no object was recognised. {INSTALL_NOTE}"


class Taggers:
    """The backends that can work here. The first is the default, and makes tags.

    Raises ValueError when none is given or two have one id: a fault of the composition root.
    """

    def __init__(self, source: TaggerSource | Sequence[Backend]) -> None:
        self._source = _Fixed(Shelf(tuple(source))) if isinstance(source, Sequence) else source
        self._take(self._source.look())

    async def refresh(self) -> None:
        """Takes up what was added to the deployment or taken from it since."""
        shelf = await asyncio.to_thread(self._source.look)
        if shelf is not self._shelf:
            self._take(shelf)

    def _take(self, shelf: Shelf) -> None:
        usable = [backend for backend in shelf.backends if backend.available()]
        by_name = {backend.describe().name: backend for backend in usable}
        if not usable or isinstance(usable[0], Captioner) or len(by_name) < len(usable):
            raise ValueError("at least one available tagger is needed, each with its own id")
        self._shelf, self._by_name, self._default = shelf, by_name, usable[0].describe().name

    def list(self) -> Sequence[TaggerInfo]:
        """All of them, the default first, those that cannot be used last."""
        return [*(backend.describe() for backend in self._by_name.values()), *self._shelf.faulty]

    def is_default(self, info: TaggerInfo) -> bool:
        """Whether this one is used when a request names none."""
        return info.name == self._default

    def get(self, name: str) -> Tagger:
        """The tagger of this name, the default for "". Raises NotFound that lists what there is."""
        found = self._by_name.get(name or self._default)
        if found is None:
            raise self._not_found(name, "tagger", Kind.TAGS)
        if isinstance(found, Captioner):
            raise InvalidArgument(
                f"'{name}' writes captions, not tags",
                field="options.tagger",
                reason="TAGGER_WRITES_CAPTIONS",
                remedy="Name it as the captioner instead.",
            )
        return found

    def captioner(self, name: str) -> Captioner:
        """The captioner of this name. Raises NotFound that lists what there is."""
        found = self._by_name.get(name)
        if not isinstance(found, Captioner):
            raise self._not_found(name, "captioner", Kind.CAPTIONS)
        return found

    def _not_found(self, name: str, what: str, kind: Kind) -> NotFound:
        faulty = next((info for info in self._shelf.faulty if info.name == name), None)
        if faulty is not None:
            return NotFound(
                f"The {what} '{name}' cannot be used: {faulty.fault}",
                field=f"options.{what}",
                reason="TAGGER_FAULTY",
                remedy="Ask the operator to mend its folder.",
            )
        known = sorted(info.name for info in self.list() if info.kind is kind and not info.fault)
        install = INSTALL_NOTE if kind is Kind.TAGS else CAPTIONER_NOTE
        return NotFound(
            f"There is no {what} '{name}' in this deployment",
            field=f"options.{what}",
            reason="TAGGER_NOT_FOUND",
            remedy=f"Use one of {', '.join(known)}. {install}" if known else install,
        )

    def naming_objects(self) -> Tagger | None:
        """The tagger that says what a picture shows in everyday nouns; not one that is made of several."""
        naming = [
            tagger
            for tagger in self._by_name.values()
            if not isinstance(tagger, CombinedTagger | Captioner)
            and any(category.name == OBJECT for category in tagger.describe().categories)
        ]
        return naming[0] if naming else None

    def finding_subjects(self) -> SubjectFinder | None:
        """What finds the place of a picture's subject; None where no model here does."""
        return next((tagger for tagger in self._by_name.values() if isinstance(tagger, SubjectFinder)), None)

    def finding_features(self) -> FeatureFinder | None:
        """The backend that says what stands where, if there is one."""
        return next((tagger for tagger in self._by_name.values() if isinstance(tagger, FeatureFinder)), None)

    def finding_masks(self) -> MaskFinder | None:
        """What draws the mask of a picture's subject; None where no model here does."""
        return next((tagger for tagger in self._by_name.values() if isinstance(tagger, MaskFinder)), None)

    def check(self, options: TagOptions) -> TaggerInfo:
        """The chosen backend. Raises NotFound, and InvalidArgument when a threshold is for a category that it has not,
        or a captioner is named beside a tagger."""
        if options.captioner:
            if options.tagger:
                raise InvalidArgument(
                    "Both a tagger and a captioner are named",
                    field="options.captioner",
                    reason="TAGGER_AND_CAPTIONER",
                    remedy="Run two jobs, one after the other.",
                )
            return self.captioner(options.captioner).describe()
        info = self.get(options.tagger).describe()
        known = {category.name for category in info.categories}
        unknown = sorted(set(dict(options.category_thresholds)) - known)
        if unknown:
            raise InvalidArgument(
                f"{info.name} has no category '{unknown[0]}'",
                field="options.category_thresholds",
                reason="CATEGORY_UNKNOWN",
                remedy=f"Its categories are {', '.join(sorted(known))}.",
            )
        return info


class CombinedTagger:
    """Several taggers as one: every picture is decoded once and asked of each; what one does not know, another may.

    Categories of the same name must have equal thresholds; the first description wins.
    """

    def __init__(self, id: str, display_name: str, description: str, parts: Sequence[Tagger]) -> None:
        self._parts = [part for part in parts if part.available()]
        infos = [part.describe() for part in self._parts]
        learnt = [info for info in infos if not info.measures_only]
        categories: dict[str, Category] = {}
        for info in infos:
            for category in info.categories:
                # Beside a model what is measured is no answer to what a picture shows.
                takes = category.takes_threshold and (not learnt or not info.measures_only)
                categories.setdefault(category.name, replace(category, takes_threshold=takes))
        self._info = TaggerInfo(
            id=id,
            display_name=display_name,
            description=description,
            domain="; ".join(f"{info.display_name}: {info.domain}" for info in infos),
            vocabulary=tuple(dict.fromkeys(label for info in infos for label in info.vocabulary)),
            categories=tuple(categories.values()),
            model_sha256=learnt[0].model_sha256 if len(learnt) == 1 else "",
            device=next((info.device for info in learnt), "cpu"),
            batch_size=max(info.batch_size for info in infos) if infos else 1,
            measures_only=not learnt,
            parts=tuple(info.fingerprint for info in infos),
        )

    def describe(self) -> TaggerInfo:
        """What the parts say, put together."""
        return self._info

    def available(self) -> bool:
        """Whether any part can work."""
        return bool(self._parts)

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """All scores of all parts. A picture fails when a part fails: half of its tags would look like all of them.

        It lies outside the domain when it does so for every part that has learnt something.
        """
        columns = [part.infer(batch) for part in self._parts]
        learnt = [not part.describe().measures_only for part in self._parts]
        return [_joined(row, learnt) for row in zip(*columns, strict=True)]


class _Fixed:
    """A TaggerSource that never changes."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def look(self) -> Shelf:
        return self._shelf


def note(info: TaggerInfo, outside_domain: bool = False) -> str:
    """What the reader of a picture's tags should know; "" when there is nothing to say."""
    if info.kind is Kind.CAPTIONS:
        return ""
    if info.measures_only:
        return MEASURED_ONLY_NOTE
    if outside_domain:
        return f"The picture lies outside what the models of {info.name} know. {MEASURED_ONLY_NOTE}"
    return ""


def job_note(job: TagJob) -> str:
    """The same for a job as it stands: what was known at its start, or how many of its pictures were only measured."""
    outside = sum(outcome.outside_domain for outcome in job.outcomes)
    if job.note or not outside:
        return job.note
    return (
        f"{outside} of {len(job.outcomes)} pictures lie outside what the models of this tagger know; their tags were "
        f"measured from the pixels, and no object was recognised. {INSTALL_NOTE}"
    )


def _joined(row: Sequence[Scores], learnt: Sequence[bool]) -> Scores:
    error: DomainError | None = next((scores.error for scores in row if scores.error is not None), None)
    if error is not None:
        return Scores(error=error)
    together = tuple(score for scores in row for score in scores.scores)
    models = [scores.outside_domain for scores, has_learnt in zip(row, learnt, strict=True) if has_learnt]
    return Scores(together, outside_domain=bool(models) and all(models))
