"""What is written in pictures, as an audit judges it: a date or a name at a side is cut away, a watermark is told of.

What stands on the subject itself, such as the figures of a clock, is part of it: text in the middle of a picture counts
only where it stands in the same place of several pictures. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.trainer.models.audit import Finding, SetCrops, Severity
from services.trainer.recipe.buckets import Crop
from services.trainer.use_cases.previewing import SeenPicture

_LEAST_LEFT = 0.75
"""Of the part that is trained now: cutting text away may not take more than the rest."""
_DEEPEST = 0.2
"""Of a side: what reaches further in is no text at that side."""
_SEEN = 0.3
"""Of a text: less of it in what is trained does not count."""
_SAME_PLACE = 0.5
_REPEATED = 3


def written(pictures: Sequence[SeenPicture]) -> Iterator[Finding]:
    """The findings `text` and `watermark`."""
    shown = {each.image.name: _shown(each) for each in pictures}
    repeated = {each.image.name for each in pictures if _is_repeated(each, pictures, shown)}
    marked = [each.image.name for each in pictures if each.image.name in repeated]
    if marked:
        yield Finding(
            "watermark", Severity.ATTENTION, f"{len(marked)} pictures have something written in the same place",
            "Use originals without a watermark, or crop it away: the model learns to write it.", tuple(marked),
        )  # fmt: skip
    crops = []
    for each in pictures:
        part = without_text(
            each.image.size.crop or each.image.content_area or (0.0, 0.0, 1.0, 1.0), shown[each.image.name]
        )
        if part is not None and each.image.name not in repeated:
            crops.append((each.image.name, part))
    if crops:
        count = "1 picture has" if len(crops) == 1 else f"{len(crops)} pictures have"
        yield Finding(
            "text", Severity.ATTENTION, f"{count} something written at a side",
            "Cut it off, or the model learns to write it.", tuple(name for name, _ in crops), SetCrops(tuple(crops)),
        )  # fmt: skip


def without_text(part: Crop, areas: Sequence[Crop]) -> Crop | None:
    """The largest part without text at its sides; None where there is none, or too little would be left.

    Args:
        part: what is trained, as shares of the picture.
        areas: where something is written, in the same shares.
    """
    left, top, right, bottom = part
    across, down = right - left, bottom - top
    for area in areas:
        if not _overlap(area, (left, top, right, bottom)):
            continue
        depths = {
            "left": (area[2] - left) / across, "top": (area[3] - top) / down,
            "right": (right - area[0]) / across, "bottom": (bottom - area[1]) / down,
        }  # fmt: skip
        side = min(depths, key=lambda name: depths[name])
        if depths[side] > _DEEPEST:
            continue
        left, top = (area[2], top) if side == "left" else (left, area[3] if side == "top" else top)
        right, bottom = (area[0], bottom) if side == "right" else (right, area[1] if side == "bottom" else bottom)
    cut = left, top, right, bottom
    return cut if cut != part and (right - left) * (bottom - top) >= _LEAST_LEFT * across * down else None


def _shown(each: SeenPicture) -> list[Crop]:
    """The texts of which enough is trained."""
    return [area for area in each.image.text_areas if _overlap(area, each.seen) >= _SEEN * _size(area)]


def _is_repeated(each: SeenPicture, pictures: Sequence[SeenPicture], shown: dict[str, list[Crop]]) -> bool:
    """Whether a text of it, which no crop gets rid of, stands in the same place in enough others."""
    for area in shown[each.image.name]:
        same = sum(any(_alike(area, other) for other in shown[one.image.name]) for one in pictures)
        if same >= max(_REPEATED, (len(pictures) + 1) // 2) and without_text(each.seen, [area]) is None:
            return True
    return False


def _alike(one: Crop, other: Crop) -> bool:
    shared = _overlap(one, other)
    return shared >= _SAME_PLACE * (_size(one) + _size(other) - shared)


def _overlap(one: Crop, other: Crop) -> float:
    across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _size(box: Crop) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
