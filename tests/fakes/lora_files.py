"""LoRA files as other tools write them, and what is none, byte by byte."""

from __future__ import annotations

import json
import math
import pickle
import struct
from collections.abc import Mapping

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]

_DOWN, _UP = ("F16", (4, 8), bytes(64)), ("F16", (8, 4), bytes(64))
KOHYA: Tensors = {
    "lora_unet_down_blocks_0_attn1_to_q.alpha": ("F32", (), struct.pack("<f", 2.0)),
    "lora_unet_down_blocks_0_attn1_to_q.lora_down.weight": _DOWN,
    "lora_unet_down_blocks_0_attn1_to_q.lora_up.weight": _UP,
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": _DOWN,
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": _UP,
}
DIFFUSERS: Tensors = {
    "unet.down_blocks.0.attn1.to_q.lora_A.weight": _DOWN,
    "unet.down_blocks.0.attn1.to_q.lora_B.weight": _UP,
    "text_encoder.text_model.layers.0.fc1.lora_A.weight": _DOWN,
}
OLD_DIFFUSERS: Tensors = {"unet.mid_block.attn1.processor.to_q_lora.down.weight": ("F32", (4, 8), bytes(128))}
_TO_Q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
_TO_Q_DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
_FILLED_DOWN = ("F16", (4, 8), struct.pack("<32e", *(number / 8 for number in range(32))))
_FILLED_UP = ("BF16", (8, 4), struct.pack("<32H", *(0x3F80 + number for number in range(32))))
KOHYA_WHOLE: Tensors = {
    f"lora_unet_{_TO_Q}.lora_down.weight": _FILLED_DOWN,
    f"lora_unet_{_TO_Q}.lora_up.weight": _FILLED_UP,
    f"lora_unet_{_TO_Q}.alpha": ("F32", (), struct.pack("<f", 4.0)),
}
DIFFUSERS_WHOLE: Tensors = {
    f"unet.{_TO_Q_DOTTED}.lora_A.weight": _FILLED_DOWN,
    f"unet.{_TO_Q_DOTTED}.lora_B.weight": _FILLED_UP,
}
PEFT_WHOLE: Tensors = {
    f"base_model.model.{_TO_Q_DOTTED}.lora_A.weight": _FILLED_DOWN,
    f"base_model.model.{_TO_Q_DOTTED}.lora_B.weight": _FILLED_UP,
}
LOHA: Tensors = {f"lora_unet_{_TO_Q}.{name}": _DOWN for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")}
DORA: Tensors = {**KOHYA_WHOLE, f"lora_unet_{_TO_Q}.dora_scale": ("F16", (8, 1), bytes(16))}
STRANGE: Tensors = {key.replace("attentions", "gadgets"): tensor for key, tensor in KOHYA_WHOLE.items()}
HALVES: Tensors = {f"unet.{_TO_Q_DOTTED}.lora_A.weight": _FILLED_DOWN}
SMALL_NUMBERS: Tensors = {
    **KOHYA_WHOLE, f"lora_unet_{_TO_Q}.lora_down.weight": ("F8_E4M3", (4, 8), bytes(32))
}  # fmt: skip
PEFT: Tensors = {"base_model.model.blocks.0.to_q.lora_A.weight": _DOWN}
METADATA = {"ss_network_alpha": "8.0", "ss_steps": "120", "modelspec.trigger_phrase": "sks"}


def safetensors(tensors: Tensors, metadata: Mapping[str, str] | None = None, *, pad: int = 0) -> bytes:
    """A file of these tensors. pad: the length that its header is filled up to with spaces."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    data = b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return framed(json.dumps(header).encode().ljust(pad), data)


def framed(header: bytes, data: bytes = b"") -> bytes:
    """A file of a header as it is."""
    return struct.pack("<Q", len(header)) + header + data


def _one(**changes: object) -> bytes:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}
    return framed(json.dumps({"unet.x.lora_A.weight": entry}).encode(), bytes(4))


def _with_value(kind: str, value: bytes) -> bytes:
    """A LoRA with a layer of another type and odd length before the value, which is the last of its own."""
    count, width = 32, len(value)
    before = {"lora_unet_a.lora_down.weight": ("BOOL", (3, 1), bytes(3))}
    down = (kind, (4, 8), bytes(width * (count - 1)) + value)
    return safetensors({**before, **KOHYA, "lora_unet_b.lora_down.weight": down})


def _apart(*places: tuple[int, int]) -> bytes:
    entries = {
        f"unet.x{number}.lora_A.weight": {"dtype": "U8", "shape": [stop - start], "data_offsets": [start, stop]}
        for number, (start, stop) in enumerate(places)
    }
    return framed(json.dumps(entries).encode(), bytes(max(stop for _, stop in places)))


WRONG: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "MODEL_FILE_EMPTY"),
    "a few bytes": (b"\x05\0\0", "MODEL_FILE_INCOMPLETE"),
    "pickle": (pickle.dumps({"a": 1}, protocol=2) + bytes(20), "MODEL_FILE_PICKLE"),
    "torch's zip": (b"PK\3\4" + bytes(100), "MODEL_FILE_PICKLE"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "MODEL_FILE_UNREADABLE"),
    "long header": (struct.pack("<Q", 1 << 40) + b"{}" + bytes(100), "MODEL_FILE_UNREADABLE"),
    "header of zero": (bytes(100), "MODEL_FILE_UNREADABLE"),
    "no json": (framed(b"{" + b"x" * 50), "MODEL_FILE_UNREADABLE"),
    "deep json": (framed(b'{"a":' * 3_000), "MODEL_FILE_UNREADABLE"),
    "no table": (framed(b'{"a": 3}'), "MODEL_FILE_UNREADABLE"),
    "twice": (framed(b'{"a": 1, "a": 2}'), "MODEL_FILE_UNREADABLE"),
    "no type": (_one(dtype="F31"), "MODEL_FILE_UNREADABLE"),
    "negative": (_one(shape=[-1]), "MODEL_FILE_UNREADABLE"),
    "no number": (_one(shape=[True]), "MODEL_FILE_UNREADABLE"),
    "not its length": (_one(shape=[2]), "MODEL_FILE_UNREADABLE"),
    "no rank": (framed(b'{"unet.x.lora_A.weight":{"dtype":"F32","shape":[9999999999,0],"data_offsets":[0,0]}}'),
                "MODEL_FILE_UNREADABLE"),
    "more sides than a tensor has": (_one(shape=[1] * 65), "MODEL_FILE_UNREADABLE"),
    "an impossible side": (_one(shape=[2**48, 0], data_offsets=[0, 0]), "MODEL_FILE_UNREADABLE"),
    "a name that takes for ever to read": (
        safetensors({"unet." + ".lora." * 9_000 + "\n": _DOWN, **DIFFUSERS}), "MODEL_FILE_UNREADABLE"
    ),
    "a name of two lines": (safetensors({"unet.x\n.lora_A.weight": _DOWN}), "MODEL_FILE_UNREADABLE"),
    "GGUF": (b"GGUF\3\0\0\0" + bytes(100), "MODEL_FILE_UNREADABLE"),
    "not a number": (_with_value("F16", struct.pack("<e", math.nan)), "MODEL_NOT_FINITE"),
    "infinite": (_with_value("BF16", b"\x80\xff"), "MODEL_NOT_FINITE"),
    "infinite in 32 bits": (_with_value("F32", struct.pack("<f", math.inf)), "MODEL_NOT_FINITE"),
    "overlapping": (_apart((0, 8), (4, 12)), "MODEL_FILE_UNREADABLE"),
    "gap": (_apart((0, 8), (9, 12)), "MODEL_FILE_UNREADABLE"),
    "metadata of numbers": (safetensors(KOHYA, {"a": 1}), "MODEL_FILE_UNREADABLE"),  # type: ignore[dict-item]
    "cut short": (safetensors(KOHYA)[:-1], "MODEL_FILE_INCOMPLETE"),
    "cut in the header": (safetensors(KOHYA)[:50], "MODEL_FILE_INCOMPLETE"),
    "longer": (safetensors(KOHYA) + b"x", "MODEL_FILE_INCOMPLETE"),
    "no tensors": (safetensors({}), "MODEL_FORM_UNKNOWN"),
    "no numbers": (safetensors({"unet.x.lora_A.weight": ("F32", (0, 4), b"")}), "MODEL_FILE_UNREADABLE"),
    "name of half a letter": (
        framed(b'{"unet.\\ud800.lora_A.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'),
        "MODEL_FILE_UNREADABLE",
    ),
    "checkpoint": (safetensors({"model.diffusion_model.x.weight": ("F32", (1,), bytes(4))}), "MODEL_FORM_UNKNOWN"),
    "two forms": (safetensors({**KOHYA, **DIFFUSERS}), "MODEL_FORM_UNKNOWN"),
}  # fmt: skip
"""Files that are refused, each with its reason."""


def infinite() -> bytes:
    """A file whose alpha is no number to scale by."""
    alpha = ("F32", (), struct.pack("<f", math.inf))
    return safetensors({**KOHYA, "lora_unet_down_blocks_0_attn1_to_q.alpha": alpha})
