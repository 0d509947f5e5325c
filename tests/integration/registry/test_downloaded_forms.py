"""LoRAs from outside, downloaded in the forms that they were not sent in, over real gRPC and SeaweedFS."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import pytest
from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from google.api.httpbody_pb2 import HttpBody

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from tests.fakes import lora_files
from tests.integration.registry.running import PETS, REX, Running


async def test_a_lora_from_outside_is_downloaded_in_the_forms_that_it_was_not_sent_in(running: Running) -> None:
    settings = '{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["to_q"]}'
    for model, tensors, sent, config in (
        ("kohya", lora_files.KOHYA_WHOLE, "kohya", ""),
        ("diffusers", lora_files.DIFFUSERS_WHOLE, "diffusers", ""),
        ("peft", lora_files.PEFT_WHOLE, "peft", settings),
    ):
        data = lora_files.safetensors(tensors, {"ss_steps": "7", "sshs_model_hash": "a"})
        made = await running.stub.ImportModelVersion(
            iter([
                service_pb.ImportModelVersionRequest(
                    parent=f"{PETS}/models/{model}", file_name="x.safetensors", create_model=True,
                    adapter_config=config, content=HttpBody(data=data),
                )
            ])
        )  # fmt: skip
        assert made.alpha == (8.0 if config else 4.0)
        keys = await running.keys()
        for form in ("kohya", "diffusers", "peft"):
            file, content = await running.download(made.name, form)
            assert (file.file_id, file.size_bytes) == (form, len(content))
            named = {"kohya": ".safetensors", "diffusers": "-diffusers.safetensors", "peft": "-peft.zip"}
            assert file.file_name == ("x.safetensors" if form == sent else f"{model}-v1{named[form]}")
            assert file.sha256 == hashlib.sha256(content).hexdigest()
            assert (content == data) == (form == sent)
            again, _ = await running.download(made.name, form)
            assert again == file
            if form == sent:
                continue
            if form == "peft":
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    assert archive.namelist() == ["unet/adapter_config.json", "unet/adapter_model.safetensors"]
                    assert json.loads(archive.read("unet/adapter_config.json"))["lora_alpha"] == 4
                    content = archive.read("unet/adapter_model.safetensors")
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            about = header.pop("__metadata__")
            assert about["fiveshot.converted_from"].startswith(f"{sent} ")
            assert about["ss_steps"] == "7"
            assert about["ss_output_name"] == about["modelspec.title"] == f"{model}-v1"
            assert "sshs_model_hash" not in about
            assert header
        if config:
            file, content = await running.download(made.name, "peft-config")
            assert (file.file_name, content.decode()) == ("adapter_config.json", config)
        assert await running.keys() == keys


async def test_what_no_other_form_can_hold_is_refused_with_the_files_that_there_are(running: Running) -> None:
    async def kept(tensors: lora_files.Tensors, model: str) -> str:
        first = service_pb.ImportModelVersionRequest(
            parent=f"{PETS}/models/{model}", file_name="x.safetensors", create_model=True,
            content=HttpBody(data=lora_files.safetensors(tensors)),
        )  # fmt: skip
        return (await running.stub.ImportModelVersion(iter([first]))).name

    for model, tensors, form in (
        ("loha", lora_files.LOHA, "diffusers"),
        ("dora", lora_files.DORA, "diffusers"),
        ("strange", lora_files.STRANGE, "diffusers"),
        ("halves", lora_files.HALVES, "kohya"),
        ("small", lora_files.SMALL_NUMBERS, "diffusers"),
    ):
        name = await kept(tensors, model)
        with pytest.raises(FailedPrecondition) as caught:
            await running.download(name, form)
        assert (caught.value.reason, caught.value.field) == ("FORM_NOT_POSSIBLE", "file_id"), model
    with pytest.raises(NotFound) as missing:
        await running.download(name, "preview-1")
    assert "It has kohya. diffusers, peft can be made" in missing.value.remedy


async def test_settings_of_peft_are_refused_where_they_say_nothing_and_nothing_is_kept(running: Running) -> None:
    data = lora_files.safetensors(lora_files.KOHYA)
    good = '{"r": 4, "lora_alpha": 8}'
    peft = lora_files.safetensors(lora_files.PEFT_WHOLE)
    for content, config, reason in (
        (data, good, "ADAPTER_CONFIG_UNUSED"), (peft, "{}", "ADAPTER_CONFIG_INVALID"),
        (peft, '{"r": true, "lora_alpha": 8}', "ADAPTER_CONFIG_INVALID"),
        (peft, "[" * 60_000, "ADAPTER_CONFIG_INVALID"),
        (peft, '{"r": 4, "lora_alpha": 1e999}', "ADAPTER_CONFIG_INVALID"),
        (peft, f'{{"r": 4, "lora_alpha": 1{"0" * 400}}}', "ADAPTER_CONFIG_INVALID"),
        (peft, '{"r": 4, "lora_alpha": 8, "peft_type": "LOHA"}', "ADAPTER_CONFIG_INVALID"),
        (peft, '{"r": 4, "lora_alpha": 8, "alpha_pattern": {"(": 1}}', "ADAPTER_CONFIG_INVALID"),
        (peft, '{"r": 4, "lora_alpha": 8, "alpha_pattern": {"(a+)+$": 1}}', "ADAPTER_CONFIG_INVALID"),
    ):  # fmt: skip
        first = service_pb.ImportModelVersionRequest(
            parent=REX, file_name="x.safetensors", create_model=True, adapter_config=config,
            content=HttpBody(data=content),
        )  # fmt: skip
        with pytest.raises(InvalidArgument) as caught:
            await running.stub.ImportModelVersion(iter([first]))
        assert (caught.value.reason, caught.value.field) == (reason, "adapter_config"), config[:60]
        assert await running.keys() == []
