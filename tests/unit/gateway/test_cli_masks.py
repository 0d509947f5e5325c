"""What the mask commands read and draw."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from gateway.cli.sheets import veiled
from tests.fakes.pictures import jpeg
from tests.unit.dataset.test_masks import mask


def test_a_veil_lies_on_what_is_not_masked() -> None:
    picture = jpeg(64, 48, seed=3)
    with Image.open(BytesIO(picture)) as before, Image.open(BytesIO(veiled(picture, mask((32, 24))))) as after:
        assert after.size == before.size
        was, now = np.asarray(before, np.int64), np.asarray(after, np.int64)
    assert np.abs(was - now)[:, :24].mean() < 6
    veil = now[:, 40:].mean((0, 1))
    assert veil[1] < min(veil[0], veil[2]), "violet"
