"""AuditDataset: what of the pictures and texts a training would learn badly, before it is paid for.

Every rule is exact over what the dataset service measured and what the plan says; docs/audit.md says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.trainer.models.audit import (
    Audit,
    CountBoth,
    CropToSubjects,
    DeleteImages,
    Finding,
    Fix,
    RemoveTags,
    SetCrops,
    SetTriggerWord,
    Severity,
    ShortenTexts,
    TagPictures,
    Verdict,
)
from services.trainer.models.base import TextSource
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.captions import about_tokens
from services.trainer.recipe.common_words import is_common
from services.trainer.use_cases.mixing import FIELD as MANY
from services.trainer.use_cases.mixing import MixedDataset, trained
from services.trainer.use_cases.near_duplicates import near_duplicates
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner, plan_of
from services.trainer.use_cases.previewing import SeenPicture, seen_pictures, shapes_of
from services.trainer.use_cases.shorter_texts import shorter_text
from services.trainer.use_cases.written_in_pictures import written

ENOUGH_PICTURES = 5
_ENLARGED, _FAR_ENLARGED = 1.05, 2.0
_LOST = 0.35
_BAR_LEFT = 0.004
"""Of a picture's side: so much of a bar may be left in what is seen."""
_UNEVEN = 4
_TRIGGER_TOKENS = 3
_MADE_UP = "ohwx"
_FACTS = (
    ("blurry", "blurry", "The model would learn the blur."),
    ("underexposed", "too dark", "Brighten them, or take them out."),
    ("overexposed", "burnt out", "Darken them, or take them out."),
)


class Auditor:
    """Looks at what a job would train on."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    async def __call__(self, request: JobRequest) -> Audit:
        """Raises what creating the job would, but for too few pictures, which is a finding; and InvalidArgument for a
        job that trains several datasets. Regularisation pictures beside one are not looked at."""
        if sum(not each.regularization for each in request.datasets) > 1:
            raise InvalidArgument(
                "An audit looks at one dataset",
                field=MANY,
                reason="DATASETS_SEVERAL",
                remedy="Audit each by itself, with dataset_version; a job on several is checked for each of them.",
            )
        planned = await self._planner.plan(request, store=False, least=1)
        (only,) = trained(planned.datasets)
        return audit(replace(request, dataset=only.asked.name), planned, least=self._planner.least_images)


def refuse_blocked(request: JobRequest, planned: PlannedJob, *, least: int) -> None:
    """Raises FailedPrecondition(DATASET_BLOCKED) unless the caller has said to go on. least: pictures of a job.

    Of several datasets each that is trained is judged by itself; regularisation pictures may be of any kind.
    """
    if request.ignore_audit:
        return
    for each in trained(planned.datasets):
        _refuse_blocked(request, _alone(planned, each), each, least)


def _alone(planned: PlannedJob, each: MixedDataset) -> PlannedJob:
    """The job as it would be on one of its datasets."""
    parameters = replace(planned.parameters, trigger_word=each.data.trigger_word)
    return replace(planned, data=each.data, parameters=parameters, plan=plan_of(planned.model, parameters, each.data))


def _refuse_blocked(request: JobRequest, planned: PlannedJob, each: MixedDataset, least: int) -> None:
    found = audit(replace(request, dataset=each.asked.name), planned, least=least)
    if found.verdict is Verdict.BLOCKED:
        worst = next(finding for finding in found.findings if finding.severity is Severity.BLOCKING)
        name = each.asked.name.split("/")[3]
        which = f"dataset {name}" if request.datasets else "dataset"
        raise FailedPrecondition(
            f"The audit of the {which} blocks this job: {worst.message}",
            field=each.field,
            reason="DATASET_BLOCKED",
            remedy=f"{worst.remedy} To train in spite of it, set ignore_audit.",
            metadata={"finding": worst.kind},
        )


def audit(request: JobRequest, planned: PlannedJob, *, least: int) -> Audit:
    """All findings, the gravest first. Pure."""
    pictures = seen_pictures(planned)
    findings = [
        *_amount(pictures, least),
        *near_duplicates(pictures, least),
        *_pixels(planned, pictures),
        *written(pictures),
        *_blank(pictures, least),
        *_light(pictures),
        *_texts(pictures, planned.data.trigger_word.strip()),
        *_trigger(planned, pictures),
    ]
    order = list(Severity)[::-1]
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Audit(request.dataset.partition("/versions/")[0], len(pictures), tuple(findings))


def _amount(pictures: Sequence[SeenPicture], least: int) -> Iterator[Finding]:
    count = len(pictures)
    if count < ENOUGH_PICTURES:
        severity = Severity.BLOCKING if count < least else Severity.ATTENTION
        yield Finding(
            "too-few", severity, f"{_pictures(count)} {'is' if count == 1 else 'are'} all there is",
            f"Upload {ENOUGH_PICTURES - count} or more others, from other sides, in other places and light.",
        )  # fmt: skip


def _pixels(planned: PlannedJob, pictures: Sequence[SeenPicture]) -> Iterator[Finding]:
    small = [each for each in pictures if each.enlargement > _ENLARGED]
    if small:
        far = [each for each in small if each.enlargement > _FAR_ENLARGED]
        yield Finding(
            "too-small", Severity.BLOCKING if 2 * len(far) > len(pictures) else Severity.ATTENTION,
            f"{_pictures(len(small))} {_have(small)} fewer pixels than {planned.model.id} trains at"
            f" ({planned.parameters.resolution} a side)",
            "Use larger originals, a lower resolution or a base model that is trained at fewer pixels.",
            _names(small), DeleteImages(_names(small)),
        )  # fmt: skip
    barred = [each for each in pictures if _shows_bars(each)]
    if barred:
        crops = tuple((each.image.name, _without_bars(each)) for each in barred)
        yield Finding(
            "bars", Severity.ATTENTION, f"{_pictures(len(barred))} {_have(barred)} bars or a border",
            "Cut them, or the model learns to draw them.", _names(barred), SetCrops(crops),
        )  # fmt: skip
    cut = [each for each in pictures if each.lost_share > _LOST]
    if cut:
        yield Finding(
            "crop-loss", Severity.ATTENTION,
            f"{_pictures(len(cut))} lose{'s' if len(cut) == 1 else ''} more than a third to the form of the bucket",
            "Crop around the subject, or train with aspect_buckets.", _names(cut),
            CropToSubjects(_names(cut), tuple(shapes_of(planned))),
        )  # fmt: skip


def _blank(pictures: Sequence[SeenPicture], least: int) -> Iterator[Finding]:
    blank = [each for each in pictures if "blank" in each.image.facts]
    if blank:
        yield Finding(
            "blank", Severity.BLOCKING if len(pictures) - len(blank) < least else Severity.ATTENTION,
            f"{_pictures(len(blank))} {'shows' if len(blank) == 1 else 'show'} nothing but one colour",
            "Take them out: the model would learn to draw nothing.", _names(blank), DeleteImages(_names(blank)),
        )  # fmt: skip


def _light(pictures: Sequence[SeenPicture]) -> Iterator[Finding]:
    for fact, words, remedy in _FACTS:
        found = [each for each in pictures if fact in each.image.facts]
        if found:
            yield Finding(
                fact, Severity.ATTENTION, f"{_pictures(len(found))} {'is' if len(found) == 1 else 'are'} {words}",
                remedy, _names(found), DeleteImages(_names(found)),
            )  # fmt: skip


def _texts(pictures: Sequence[SeenPicture], trigger_word: str) -> Iterator[Finding]:
    long = [each for each in pictures if each.token_limit and each.tokens > each.token_limit]
    if long:
        yield Finding(
            "caption-too-long", Severity.ATTENTION,
            f"{_pictures(len(long))} {_have(long)} more text than the model reads ({long[0].token_limit} tokens)",
            "Shorten the texts: what is beyond is not trained.", _names(long),
            _shortened(long, long[0].token_limit, trigger_word),
        )  # fmt: skip
    bare = [each for each in pictures if each.image.text_source is TextSource.NONE]
    if bare and len(bare) < len(pictures):
        yield _bare(bare)
    lengths = sorted(each.tokens for each in pictures if each not in bare)
    most = _UNEVEN * max(1, lengths[len(lengths) // 2]) if lengths else 0
    longest = [each for each in pictures if each not in bare and each.tokens >= most]
    if longest:
        yield Finding(
            "uneven-captions", Severity.NOTICE,
            f"The longest text has {lengths[-1]} tokens, the usual one {lengths[len(lengths) // 2]}",
            "Describe all pictures alike.", _names(longest), _shortened(longest, most - 1, trigger_word),
        )  # fmt: skip


def _bare(bare: Sequence[SeenPicture]) -> Finding:
    """Some have no text of their own, while others have."""
    remedy = "Tag or caption all pictures, or none."
    fix: Fix | None = None
    if all(each.image.tags_count for each in bare):
        fix = TagPictures()
    elif all(each.image.tags for each in bare):
        remedy, fix = "Let their tags count where there is no caption, or caption them.", CountBoth()
    whose = "its" if len(bare) == 1 else "their"
    return Finding(
        "uneven-captions", Severity.ATTENTION,
        f"{_pictures(len(bare))} {_have(bare)} no text of {whose} own, while others have",
        remedy, _names(bare), fix,
    )  # fmt: skip


def _trigger(planned: PlannedJob, pictures: Sequence[SeenPicture]) -> Iterator[Finding]:
    word = planned.data.trigger_word.strip()
    if not word:
        yield Finding(
            "no-trigger-word", Severity.NOTICE, "The dataset has no trigger word",
            "Set a word that no text uses otherwise, such as ohwx: it calls the subject in prompts.",
            fix=SetTriggerWord(_MADE_UP),
        )  # fmt: skip
        return
    if is_common(word):
        yield Finding(
            "trigger-is-common", Severity.ATTENTION, f"The trigger word '{word}' is a word that the model knows",
            "Take a made-up word and put the known one into the captions.", fix=SetTriggerWord(_made_up(word)),
        )  # fmt: skip
    elif about_tokens(word) > _TRIGGER_TOKENS:
        yield Finding(
            "trigger-splits", Severity.NOTICE, f"The trigger word '{word}' is read in several pieces",
            "Take a shorter one of letters alone.", fix=SetTriggerWord(_made_up(word)),
        )  # fmt: skip
    tagged = [each for each in pictures if each.image.tags and not each.image.tags_unused]
    counts = Counter(label for each in tagged for label in set(each.image.tags))
    kept = {word.casefold(), planned.data.subject.strip().casefold()}
    everywhere = tuple(
        label for label, count in counts.items() if count == len(pictures) and label.casefold() not in kept
    )
    if everywhere and len(pictures) >= ENOUGH_PICTURES:
        yield Finding(
            "tag-on-all", Severity.NOTICE, f"Every picture is tagged {', '.join(everywhere)}",
            "Remove what the trigger word should stand for; keep what the subject is, such as dog.",
            fix=RemoveTags(everywhere),
        )  # fmt: skip


def _without_bars(each: SeenPicture) -> Crop:
    """What is trained now without its bars."""
    area, part = each.image.content_area, each.image.size.crop
    assert area is not None
    if part is None:
        return area
    cut = max(area[0], part[0]), max(area[1], part[1]), min(area[2], part[2]), min(area[3], part[3])
    return cut if cut[0] < cut[2] and cut[1] < cut[3] else area


def _shows_bars(each: SeenPicture) -> bool:
    area, seen = each.image.content_area, each.seen
    if area is None:
        return False
    outside = area[0] - seen[0], area[1] - seen[1], seen[2] - area[2], seen[3] - area[3]
    return max(outside) > _BAR_LEFT


def _shortened(pictures: Sequence[SeenPicture], limit: int, trigger_word: str) -> ShortenTexts:
    captions, tags = {}, {}
    for each in pictures:
        shorter = shorter_text(each.image, limit, trigger_word)
        if shorter.caption is not None:
            captions[each.image.name] = shorter.caption
        if shorter.tags is not None and each.image.stored_tags:
            tags[each.image.name] = tuple(each.image.stored_tags[place] for place in shorter.tags)
    return ShortenTexts(captions, tags)


def _made_up(word: str) -> str:
    letters = [letter for letter in word.casefold() if letter.isascii() and letter.isalpha()]
    consonants = [letter for letter in letters if letter not in "aeiou"]
    return f"{''.join(consonants)[:3] or _MADE_UP[:3]}x"


def _names(pictures: Sequence[SeenPicture]) -> tuple[str, ...]:
    return tuple(each.image.name for each in pictures)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _have(pictures: Sequence[SeenPicture]) -> str:
    return "has" if len(pictures) == 1 else "have"
