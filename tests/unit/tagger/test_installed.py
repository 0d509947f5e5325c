"""The folder of taggers: what lies in it is offered, what is wrong in it is said, and a change is seen at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.tagger.adapters.captioner_file import read_captioner_file
from services.tagger.adapters.installed import InstalledTaggers
from services.tagger.adapters.openai_captioner import key_reader
from services.tagger.models.pictures import Kind
from services.tagger.use_cases.taggers import Taggers

GOOD = 'address = "http://127.0.0.1:8000/v1"\nmodel = "some-vl"\n'


def installed(folder: Path) -> InstalledTaggers:
    return InstalledTaggers(wd_model_dir=None, photo=False, threads=1, folder=folder, api_key="from-settings")


def captioner(folder: Path, text: str = GOOD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "captioner.toml").write_text(text, encoding="utf-8")
    return folder


async def test_a_new_folder_is_seen_and_a_removed_one_is_gone(tmp_path: Path) -> None:
    source = installed(tmp_path / "taggers")
    taggers = Taggers(source)
    assert [info.id for info in taggers.list()] == ["default", "measured"], "the folder need not be there"
    captioner(tmp_path / "taggers" / "qwen")
    captioner(tmp_path / "taggers" / ".half.partial")
    await taggers.refresh()
    found = taggers.list()[-1]
    assert (found.id, found.kind, found.model) == ("qwen", Kind.CAPTIONS, "some-vl")
    assert source.look() is source.look(), "nothing is read again while nothing changes"
    before = taggers.captioner("taggers/qwen")
    captioner(tmp_path / "taggers" / "qwen", GOOD.replace("some-vl", "other-vl"))
    await taggers.refresh()
    assert taggers.captioner("taggers/qwen") is not before
    assert taggers.captioner("taggers/qwen").describe().model == "other-vl"
    os.rename(tmp_path / "taggers" / "qwen", tmp_path / "gone")
    await taggers.refresh()
    with pytest.raises(NotFound):
        taggers.captioner("taggers/qwen")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("qwen", "address =", "captioner.toml is no TOML file"),
        ("qwen", 'model = "a"', "captioner.toml: address: Field required"),
        ("qwen", GOOD + "surprise = 1", "captioner.toml: surprise: Extra inputs"),
        ("qwen", GOOD.replace("http:", "file:"), "captioner.toml: address"),
        ("qwen", GOOD.replace("127", "user:secret@127"), "captioner.toml: address"),
        ("qwen", GOOD + "parallel = 0", "captioner.toml: parallel"),
        ("qwen", GOOD + 'description = "a\\u001b[31m"', "one line of text"),
        ("Qwen VL", GOOD, "lower-case letters"),
        ("default", GOOD, "none of ours"),
        ("qwen", "", "captioner.toml: address"),
    ],
)
def test_a_folder_that_is_wrong_is_a_fault_of_that_tagger_alone(
    tmp_path: Path, name: str, text: str, fault: str
) -> None:
    captioner(tmp_path / name, text)
    captioner(tmp_path / "zeta")
    shelf = installed(tmp_path).look()
    (faulty,) = shelf.faulty
    assert (faulty.id, fault in faulty.fault) == (name, True), faulty.fault
    assert str(tmp_path) not in faulty.fault
    assert "secret" not in faulty.fault
    assert [each.describe().id for each in shelf.backends] == ["default", "measured", "zeta"]


def test_an_empty_folder_and_a_broken_model_are_faults(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.onnx").write_bytes(b"x")
    faults = {each.id: each.fault for each in installed(tmp_path).look().faulty}
    assert "neither model.onnx nor captioner.toml" in faults["empty"]
    assert "cannot be read (No such file or directory)" in faults["half"]


def test_a_wd_model_of_the_folder_joins_the_default_and_takes_its_folders_name(tmp_path: Path) -> None:
    for name in ("anime", "zoo"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(b"x")
        (tmp_path / name / "selected_tags.csv").write_text(f"tag_id,name,category,count\n1,{name},0,9\n")
    ids = {each.describe().id: each.describe() for each in installed(tmp_path).look().backends}
    assert list(ids) == ["default", "anime", "zoo", "measured"]
    assert "anime" in ids["default"].vocabulary
    assert "zoo" not in ids["default"].vocabulary, "its thresholds are not those of the first"
    assert ids["default"].fingerprint != installed(tmp_path / "none").look().backends[0].describe().fingerprint


def test_a_key_is_read_anew_and_only_where_the_file_says_so(tmp_path: Path) -> None:
    folder = captioner(tmp_path / "qwen", GOOD + 'api_key_file = "key"')
    read = key_reader(read_captioner_file(folder / "captioner.toml").key_path(folder), "")
    for secret in ("one", "two"):
        (folder / "key").write_text(f"{secret}\n")
        assert read() == secret
    for wrong in (b"", b"two\nlines", b"\xff"):
        (folder / "key").write_bytes(wrong)
        if wrong:
            with pytest.raises(FailedPrecondition) as caught:
                read()
            assert (caught.value.reason, str(tmp_path) in str(caught.value)) == ("CAPTIONER_REFUSES", False)
    assert key_reader(None, "from-settings")() == "from-settings"
    file = read_captioner_file(captioner(tmp_path / "bare") / "captioner.toml")
    assert (file.key_path(tmp_path), file.api_key_setting) == (None, False)


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("captioner.toml", b"a=" + b"[" * 50_000, "captioner.toml is no TOML file"),
        ("captioner.toml", b"\xff\xfe", "captioner.toml is no text in UTF-8"),
        ("captioner.toml", GOOD.replace("v1", "v1\\u0000").encode(), "captioner.toml: address: must be one line"),
        ("selected_tags.csv", b"tag_id,name,category\n1," + b"x" * 200_000, "selected_tags.csv is no table"),
        ("selected_tags.csv", b"\xff\xfe", "selected_tags.csv is no text in UTF-8"),
        ("selected_tags.csv", None, "selected_tags.csv is no plain file"),
        ("thresholds.json", b"[" * 100_000, "thresholds.json is no JSON"),
        ("thresholds.json", b'{"general": NaN}', "thresholds.json must map"),
        ("thresholds.json", b'{"general": true}', "thresholds.json must map"),
        ("thresholds.json", None, "thresholds.json is no plain file"),
    ],
)
def test_a_hostile_folder_leaves_the_others_at_work(
    tmp_path: Path, file: str, content: bytes | None, fault: str
) -> None:
    """content: of the file; None for a pipe, which would keep its reader waiting."""
    folder = tmp_path / "evil"
    folder.mkdir()
    if file != "captioner.toml":
        (folder / "model.onnx").write_bytes(b"x")
        (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n1,cat,0,9\n")
    if content is None:
        (folder / file).unlink(missing_ok=True)
        os.mkfifo(folder / file)
    else:
        (folder / file).write_bytes(content)
    captioner(tmp_path / "zeta")
    shelf = installed(tmp_path).look()
    (faulty,) = shelf.faulty
    assert fault in faulty.fault, faulty.fault
    assert "zeta" in [each.describe().id for each in shelf.backends]
