"""`captioner.toml`: what the operator says of a captioner.

address = "http://127.0.0.1:8000/v1"   # /chat/completions is added to it
model = "Qwen/Qwen2.5-VL-7B-Instruct"
api_key_file = "key"                    # beside this file, or with its whole path
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.tagger.adapters.folder_files import read_text

FILE = "captioner.toml"


class CaptionerFile(BaseModel):
    """Its fields; `address` and `model` are needed, all others have defaults that work."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    address: str = Field(max_length=500, pattern=r"^https?://[^\s@?#]+$")
    model: str = Field(min_length=1, max_length=200)
    display_name: str = Field("", max_length=100)
    description: str = Field("", max_length=500)
    api_key_file: Path | None = None
    """Wins over `api_key_setting`."""
    api_key_setting: bool = False
    """Whether the key is TAGGER_CAPTIONER_API_KEY. It is never sent where this is not said."""
    parallel: int = Field(2, ge=1, le=64)
    """Requests at once."""
    timeout_s: float = Field(120.0, gt=0, le=3600)
    """Seconds for one answer."""
    attempts: int = Field(4, ge=1, le=10)
    """Requests for one answer while the server is away or overloaded."""
    first_pause_s: float = Field(0.5, ge=0, le=60)
    """Seconds before the second request; they double, up to a minute."""
    max_tokens: int = Field(300, ge=16, le=8192)
    """Tokens of an answer. A model that thinks aloud needs more than one that does not."""
    max_side: int = Field(1024, ge=128, le=4096)
    """Pixels of the longer side of the picture that is sent."""
    temperature: float = Field(0.2, ge=0, le=2)
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, as the server knows them."""

    @field_validator("address", "model", "display_name", "description")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must be one line of text")
        return value

    def key_path(self, folder: Path) -> Path | None:
        """The file of the API key, from the folder of this one."""
        return None if self.api_key_file is None else folder / self.api_key_file


def read_captioner_file(path: Path) -> CaptionerFile:
    """Raises ValueError in a sentence that gives away neither what the file holds nor where it lies; OSError."""
    try:
        values = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name} is no TOML file") from error
    try:
        return CaptionerFile(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{path.name}: {field}: {message}") from error
