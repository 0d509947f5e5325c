"""A photographer's way from photos with faults to a set that is ready: crop, preview and audit on a running stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from gateway.cli import output
from tests.fakes.photographs import photo_of_a_clock
from tests.fixtures.running_stack import RunningStack

NAME = "clocks"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photos of a clock; one with bars, one twice."""
    photos = [Image.open(BytesIO(photo_of_a_clock(seed))).convert("RGB").resize((320, 320)) for seed in range(3)]
    photos[1] = ImageOps.expand(photos[1], (0, 40, 0, 40), fill="black")
    photos.append(photos[2].resize((200, 200)))
    for number, photo in enumerate(photos):
        photo.save(tmp_path / f"clock-{number}.png")
    return tmp_path


@pytest.fixture
def stack(filled_stack: RunningStack, folder: Path) -> Iterator[RunningStack]:
    """The stack with the photos uploaded."""
    try:
        assert filled_stack.command("dataset", "create", NAME, "--trigger-word", "sks").exit_code == 0
        uploaded = filled_stack.command("dataset", "upload", NAME, str(folder))
        assert uploaded.exit_code == 0, uploaded.output
        assert "1 has bars or a border: clock-1.png. Cut them: fiveshot dataset crop clocks --auto" in uploaded.stderr
        yield filled_stack
    finally:
        filled_stack.command("dataset", "delete", NAME)


def answer(stack: RunningStack, *arguments: str) -> Any:
    """What a command that succeeds prints as JSON."""
    done = stack.command("--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def crops(stack: RunningStack) -> dict[str, Any]:
    return {each["fileName"]: each.get("crop") for each in answer(stack, "dataset", "images", NAME)["images"]}


def test_photos_with_faults_become_a_set_to_train_on(stack: RunningStack, tmp_path: Path) -> None:
    sheet = tmp_path / "sheets" / "crops.png"
    tried = answer(stack, "dataset", "crop", NAME, "--auto", "--dry-run", "--sheet", str(sheet))
    assert (tried["dryRun"], any(crops(stack).values())) == (True, False)
    with Image.open(sheet) as drawn:
        assert drawn.width > 6 * 192

    done = answer(stack, "dataset", "crop", NAME, "--auto")
    assert done["changed"] == tried["changed"] != []
    found = crops(stack)
    barred = found["clock-1.png"]
    assert barred["top"] >= 40 / 400
    assert barred["bottom"] <= 360 / 400
    assert answer(stack, "dataset", "crop", NAME, "--auto")["changed"] == [], "crops that are set are kept"

    answer(stack, "dataset", "crop", NAME, "clock-0.png", "--box", "10%,0,160,160")
    assert crops(stack)["clock-0.png"] == {"left": 0.1, "top": 0.0, "right": 0.5, "bottom": 0.5}
    answer(stack, "dataset", "download", NAME, "clock-0.png", "--crop", "--to", str(tmp_path / "part.jpg"))
    with Image.open(tmp_path / "part.jpg") as part:
        assert part.size == (128, 160)
    answer(stack, "dataset", "crop", NAME, "clock-0.png", "--undo")
    assert crops(stack)["clock-0.png"] == found["clock-0.png"]
    answer(stack, "dataset", "crop", NAME, "--clear")
    assert not any(crops(stack).values())
    answer(stack, "dataset", "crop", NAME, "--undo")
    assert crops(stack) == found

    answer(stack, "dataset", "crop", NAME, "--clear")
    _masked(stack, tmp_path)
    _seen(stack, tmp_path)
    _audited(stack, tmp_path)


def _masked(stack: RunningStack, tmp_path: Path) -> None:
    """Masks by hand and by suggestion, and the way back from a bulk edit."""
    drawn = tmp_path / "mask.png"
    Image.new("L", (320, 320), 255).save(drawn)
    answer(stack, "dataset", "mask", NAME, "clock-0.png", "--from", str(drawn))
    answer(stack, "dataset", "mask", NAME, "--auto")
    masked = [each["fileName"] for each in answer(stack, "dataset", "images", NAME)["images"] if "mask" in each]
    assert len(masked) == 4
    before = answer(stack, "dataset", "images", NAME)["images"]
    answer(stack, "dataset", "edit-tags", NAME, "--add", "round")
    newest = answer(stack, "dataset", "history", NAME)["edits"][0]
    assert (newest["fields"], newest["changedImages"]) == (["tags"], 4)
    answer(stack, "dataset", "undo", NAME)
    after = answer(stack, "dataset", "images", NAME)["images"]
    assert [each.get("tags") for each in after] == [each.get("tags") for each in before]
    answer(stack, "dataset", "mask", NAME, "--clear")


def _seen(stack: RunningStack, tmp_path: Path) -> None:
    """What will be trained."""
    assert answer(stack, "dataset", "update-image", NAME, "clock-0", "clock-1", "--repeats", "3")["images"][1][
        "numRepeats"
    ] == 3  # fmt: skip
    answer(stack, "dataset", "caption", NAME, "clock-0", "a clock on a wall")
    sheet = tmp_path / "seen.png"
    pictures = answer(stack, "train", "preview", NAME, "--repeats", "2", "--sheet", str(sheet))["pictures"]
    first, second = pictures[:2]
    assert (first["text"], first["textSource"]) == ("sks, a clock on a wall", "TEXT_SOURCE_CAPTION")
    assert (second["text"], second["textSource"]) == ("sks", "TEXT_SOURCE_NONE")
    assert [each["samplesPerEpoch"] for each in pictures[:3]] == [6, 6, 2]
    assert (second["bucketWidth"], second["bucketHeight"]) == (64, 64)
    assert second["lostShare"] == pytest.approx(1 - 320 / 400)
    with Image.open(sheet) as drawn:
        assert drawn.height > 192
    table = stack.command("train", "preview", NAME)
    assert table.exit_code == 0
    assert "1 with more than a tenth lost to the form of their bucket: clock-1.png." in table.stderr


def _audited(stack: RunningStack, tmp_path: Path) -> None:
    """A verdict, and findings that are mended by a call; what is left is too little to train on."""
    found = answer(stack, "dataset", "audit", NAME)
    assert found["verdict"] == "VERDICT_NEEDS_ATTENTION"
    assert {"bars", "near-duplicates", "too-few"} <= {each["kind"] for each in found["findings"]}
    mended = stack.command("dataset", "audit", NAME, "--fix", "bars", "--fix", "near-duplicates")
    assert (mended.exit_code, mended.stdout.splitlines()[:2]) == (0, ["bars: done.", "near-duplicates: done."])
    assert mended.stdout.splitlines()[-1] == "Needs attention."
    left = answer(stack, "dataset", "audit", NAME)["findings"]
    assert not {"bars", "near-duplicates"} & {each["kind"] for each in left}
    answer(stack, "dataset", "remove-image", NAME, "clock-0")
    blocked = stack.command("dataset", "audit", NAME)
    assert (blocked.exit_code, blocked.stdout.splitlines()[-1]) == (output.STATE, "Blocked.")
    _a_version_is_judged_as_its_dataset(stack, tmp_path)


def _a_version_is_judged_as_its_dataset(stack: RunningStack, tmp_path: Path) -> None:
    """What is frozen keeps what the audit saw; three of its five pictures look the same as another."""
    for number in range(3):
        copy = Image.open(BytesIO(photo_of_a_clock(2))).convert("RGB").resize((300 - 20 * number,) * 2)
        copy.save(tmp_path / f"copy-{number}.png")
        uploaded = stack.command("dataset", "upload", NAME, str(tmp_path / f"copy-{number}.png"))
        assert uploaded.exit_code == 0, uploaded.output
    version = answer(stack, "dataset", "freeze", NAME)["name"]
    refused = stack.command("train", "start", version)
    assert (refused.exit_code, "look the same as another" in refused.output) == (output.STATE, True), refused.output
