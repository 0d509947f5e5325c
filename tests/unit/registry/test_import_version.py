"""Files from outside: what they are is read from them, and what is no LoRA is named and not kept."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256

import pytest
import yaml

from services.chassis.errors import DeadlineExceeded, DomainError, InvalidArgument, NotFound, ResourceExhausted
from services.registry.models.resources import ModelVersion
from services.registry.use_cases.import_version import ImportRequest, ImportVersion
from tests.fakes import lora_files as files
from tests.fakes.registry import FakeEpochSource, FakeFileStore, FakeModelStore

REQUEST = ImportRequest("pets", "rex", "Rex 1.safetensors", create_model=True, display_name=" Rex ")


class Bench:
    """The use case over fakes that a test can look into."""

    def __init__(self) -> None:
        self.store, self.files = FakeModelStore(), FakeFileStore()
        source = FakeEpochSource(contents={})
        self.importing = ImportVersion(self.store, self.files, source, max_bytes=100_000, idle_s=5.0)

    async def run(self, data: bytes, request: ImportRequest = REQUEST, *, piece: int = 7) -> ModelVersion:
        async def messages() -> AsyncIterator[ImportRequest | bytes]:
            yield request
            for start in range(0, len(data), piece):
                yield data[start : start + piece]

        return await self.importing.run(messages())

    async def refused(self, kind: type[DomainError], data: bytes, request: ImportRequest = REQUEST) -> DomainError:
        """Imports, expects the error and that nothing was kept."""
        with pytest.raises(kind) as caught:
            await self.run(data, request, piece=20_000)
        kept = (self.files.objects, self.store.models, self.store.versions, self.store.requests)
        assert not any(kept)
        assert caught.value.remedy
        return caught.value


@pytest.mark.parametrize(
    ("tensors", "metadata", "form", "rank", "alpha"),
    [
        (files.KOHYA, files.METADATA, "kohya", 4, 2.0),
        (files.KOHYA, None, "kohya", 4, 2.0),
        (files.DIFFUSERS, files.METADATA, "diffusers", 4, 8.0),
        (files.OLD_DIFFUSERS, None, "diffusers", 4, 4.0),
        (files.PEFT, {"ss_network_alpha": "nan"}, "peft", 4, 4.0),
    ],
)
async def test_a_file_says_what_it_is(
    tensors: files.Tensors, metadata: dict[str, str] | None, form: str, rank: int, alpha: float
) -> None:
    bench, data = Bench(), files.safetensors(tensors, metadata)
    version = await bench.run(data)
    [file] = version.draft.files
    assert (file.file_id, file.file_name, file.sha256) == (form, "Rex 1.safetensors", sha256(data).hexdigest())
    assert bench.files.objects[file.object_key] == data
    assert (version.draft.rank, version.draft.alpha) == (rank, alpha)
    assert bench.store.models["pets", "rex"].display_name == "Rex"


async def test_lineage_and_card_say_that_it_was_uploaded() -> None:
    bench, data = Bench(), files.safetensors(files.KOHYA, files.METADATA)
    request = replace(REQUEST, base_model="baseModels/fiveshot-tiny", description="from a friend", aliases=("best",))
    version = await bench.run(data, request)
    lineage = version.draft.lineage
    assert (lineage.uploaded_file, lineage.epoch, lineage.base_model) == (
        "Rex 1.safetensors", "", "baseModels/fiveshot-tiny",
    )  # fmt: skip
    assert (lineage.step, version.draft.trigger_word, version.aliases) == (120, "sks", ("best", "latest"))
    _, front, body = version.draft.model_card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert (fields["base_model"], fields["instance_prompt"]) == ("fiveshot-tiny", "sks")
    assert "# Rex\n\nfrom a friend\n\nA LoRA of Tiny, rank 4, from the uploaded file `Rex 1.safetensors`." in body
    unnamed = await bench.run(files.safetensors(files.PEFT), replace(REQUEST, trigger_word="cat"))
    assert (unnamed.number, unnamed.draft.trigger_word) == (2, "cat")
    assert "base_model" not in unnamed.draft.model_card


@pytest.mark.parametrize("length", [640, 896, 1152])
async def test_a_header_whose_length_begins_as_a_pickle_does_is_read(length: int) -> None:
    data = files.safetensors(files.PEFT, pad=length)
    assert data[:1] == b"\x80"
    assert (await Bench().run(data)).draft.rank == 4


async def test_an_alpha_that_scales_to_nothing_known_is_the_rank() -> None:
    assert (await Bench().run(files.infinite())).draft.alpha == 4.0


@pytest.mark.parametrize("name", files.WRONG)
async def test_what_is_no_lora_is_named_and_not_kept(name: str) -> None:
    data, reason = files.WRONG[name]
    error = await Bench().refused(InvalidArgument, data)
    assert (error.reason, error.field) == (reason, "content")


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 64])
async def test_a_value_that_is_no_number_is_found_however_the_bytes_come(piece: int) -> None:
    for name in ("not a number", "infinite", "infinite in 32 bits"):
        data, reason = files.WRONG[name]
        with pytest.raises(InvalidArgument) as caught:
            await Bench().run(data, piece=piece)
        assert (caught.value.reason, "lora_unet_b" in caught.value.message) == (reason, True)
    largest = ("F16", (4, 8), struct.pack("<e", 65504.0) * 32)
    assert (
        await Bench().run(files.safetensors({**files.KOHYA, "lora_unet_b.lora_up.weight": largest}), piece=piece)
    ).name


@pytest.mark.parametrize("name", ["", "a.pt", "a.ckpt", "a/b.safetensors", "..", "a\\b.safetensors", ".safetensors"])
async def test_a_name_that_is_none_of_such_a_file_is_refused(name: str) -> None:
    error = await Bench().refused(InvalidArgument, b"", replace(REQUEST, file_name=name))
    assert (error.reason, error.field) == ("FILE_NAME_INVALID", "file_name")


async def test_what_is_announced_is_held_to() -> None:
    data = files.safetensors(files.KOHYA)
    error = await Bench().refused(InvalidArgument, data, replace(REQUEST, sha256="0" * 64))
    assert error.reason == "MODEL_FILE_DIGEST_MISMATCH"
    large = files.safetensors({**files.PEFT, "x": ("U8", (100_000,), bytes(100_000))})
    assert (await Bench().refused(ResourceExhausted, large)).reason == "VERSION_TOO_LARGE"
    error = await Bench().refused(NotFound, data, replace(REQUEST, create_model=False))
    assert error.reason == "MODEL_NOT_FOUND"
    error = await Bench().refused(NotFound, data, replace(REQUEST, base_model="baseModels/none"))
    assert (error.reason, error.field) == ("BASE_MODEL_NOT_FOUND", "base_model")


async def test_a_repeated_import_is_the_first_version_and_leaves_no_file() -> None:
    bench, data = Bench(), files.safetensors(files.KOHYA)
    request = replace(REQUEST, request_id="r")
    first = await bench.run(data, request)
    assert await bench.run(data, request) == first
    assert len(bench.files.objects) == 1
    with pytest.raises(InvalidArgument) as refused:
        await bench.run(files.safetensors(files.PEFT), request)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert len(bench.files.objects) == 1


async def test_a_stalled_upload_ends() -> None:
    bench = Bench()
    bench.importing = ImportVersion(bench.store, bench.files, FakeEpochSource(contents={}), max_bytes=9, idle_s=0.01)

    async def messages() -> AsyncIterator[ImportRequest | bytes]:
        yield REQUEST
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded) as refused:
        await bench.importing.run(messages())
    assert refused.value.reason == "UPLOAD_STALLED"


async def test_an_import_of_nothing_at_all_is_the_callers_mistake() -> None:
    async def messages() -> AsyncIterator[ImportRequest | bytes]:
        nothing: tuple[bytes, ...] = ()
        for message in nothing:
            yield message

    with pytest.raises(InvalidArgument) as refused:
        await Bench().importing.run(messages())
    assert (refused.value.reason, refused.value.field) == ("UPLOAD_HEADER_MISSING", "content")
