"""The worker decodes photos of strangers in a child process, and gets the pixels that the engine is tested with."""

from __future__ import annotations

import pickle

import pytest

from services.chassis.picture_decoding.limits import DecodeLimits
from services.trainer.engine.errors import EngineError
from services.trainer.worker.pictures import SandboxedDecoder, decode_original
from tests.fakes import pictures
from tests.fixtures.jpeg_writer import jpeg, noise
from tests.fixtures.nasty_pictures import corpus

DECODE = SandboxedDecoder(DecodeLimits(cpu_s=60, wall_s=120))


@pytest.mark.parametrize(
    "data",
    [pictures.png(), pictures.jpeg(640, 480, orientation=6), jpeg(noise(1600, 1200)), jpeg(noise(mode="CMYK"))],
    ids=["png", "turned", "large", "cmyk"],
)
def test_pixels_and_size_are_those_of_the_plain_decoder(data: bytes) -> None:
    found, size = DECODE(data, 256, "a.png")
    expected, expected_size = decode_original(data, 256, "a.png")
    assert size == expected_size
    assert found.size == expected.size
    assert found.tobytes() == expected.tobytes()


def test_a_run_may_send_it_to_its_helpers() -> None:
    again = pickle.loads(pickle.dumps(DECODE))
    assert again == DECODE
    assert again(pictures.png(), 64, "a.png")[1] == (64, 48)


@pytest.mark.parametrize("name", ["jpeg-1500-scans", "png-no-rows", "png-wrong-crc-IDAT-type-2"])
def test_a_nasty_photo_is_the_users_error(name: str) -> None:
    nasty = next(nasty for nasty in corpus() if nasty.name == name)
    with pytest.raises(EngineError) as caught:
        DECODE(nasty.make(), 64, "cat.jpg")
    assert caught.value.reason == "PHOTO_UNREADABLE"
    assert caught.value.user_error
    assert "cat.jpg" in str(caught.value)
