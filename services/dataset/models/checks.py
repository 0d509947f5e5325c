"""What names and texts may hold, beyond what the API's field rules say."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from fiveshot.layouts import own_remedy

from services.chassis.errors import InvalidArgument, collected, refuse_all
from services.chassis.texts import can_be_seen, hidden_in

# What a file of that extension holds, in the words of `chassis.pictures`.
EXTENSIONS = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg"}
# As the field rules of the API say.
MAX_CAPTION, MAX_FILE_NAME = 2000, 255


@dataclass(frozen=True)
class Limits:
    """What the operator allows. max_image_bytes: bytes of one file; max_pixels: width × height; min_side: pixels."""

    extensions: tuple[str, ...] = ("png", "jpg", "jpeg")
    max_image_bytes: int = 5 * 1024 * 1024
    max_images: int = 100
    max_pixels: int = 64_000_000
    min_side: int = 16


def check_text(text: str, *, field: str, lines: bool = False) -> str:
    """The text without blanks around it. lines: line breaks and tabs are allowed.

    Raises InvalidArgument(reason=TEXT_INVALID) for other control characters and for marks that turn the reading
    direction round: databases refuse some of them, and nobody sees them. One line must have something to be seen.
    """
    hidden = hidden_in(text) or ("" if lines else next((f"U+{ord(mark):04X}" for mark in text if mark in "\n\r\t"), ""))
    if hidden:
        raise InvalidArgument(
            f"The text holds the invisible character {hidden}",
            field=field,
            reason="TEXT_INVALID",
            remedy="Remove it and send plain text.",
        )
    plain = text.strip()
    if plain and not lines and not can_be_seen(plain):
        raise InvalidArgument(
            "The text holds nothing that can be seen",
            field=field,
            reason="TEXT_INVALID",
            remedy="Give it at least one visible character, or leave it empty.",
        )
    return plain


class Texts:
    """The texts of a request, so that one refusal names all that are wrong."""

    def __init__(self) -> None:
        self._wrong: list[InvalidArgument] = []

    def checked(self, text: str, *, field: str, lines: bool = False) -> str:
        """As `check_text` gives it; "" for a wrong one."""
        return collected(self._wrong, lambda: check_text(text, field=field, lines=lines)) or ""

    def label(self, label: str, *, field: str) -> str:
        """As `check_label` gives it; "" for a wrong one."""
        return collected(self._wrong, lambda: check_label(label, field=field)) or ""

    def refuse(self) -> None:
        """Raises InvalidArgument for those that are wrong."""
        refuse_all(self._wrong)


def check_label(label: str, *, field: str) -> str:
    """The label without blanks around it. Raises InvalidArgument when nothing is left, and as `check_text` does."""
    text = check_text(label, field=field)
    if not text.strip("_"):
        raise InvalidArgument(
            "A label is empty", field=field, reason="LABEL_EMPTY", remedy="Give it at least one visible character."
        )
    return text


def check_file_name(file_name: str, limits: Limits, *, field: str) -> str:
    """The format that the name promises, `png` or `jpeg`. Raises InvalidArgument.

    FILE_NAME_INVALID: it holds a path or characters that no file's name should. IMAGE_TYPE_UNSUPPORTED: its extension
    is not allowed.
    """
    fault = _file_name_fault(file_name)
    if fault:
        raise InvalidArgument(
            f"The file name {fault}",
            field=field,
            reason="FILE_NAME_INVALID",
            remedy="Send the bare name of the file, such as dog-01.jpg, without folders.",
        )
    extension = file_name.rpartition(".")[2].lower() if "." in file_name else ""
    if extension not in limits.extensions:
        shown = f".{extension}" if extension else "no extension"
        raise InvalidArgument(
            f"The file name has {shown}, which is not an allowed type",
            field=field,
            reason="IMAGE_TYPE_UNSUPPORTED",
            remedy=own_remedy(f".{extension}") or f"Convert the picture to one of: {', '.join(limits.extensions)}.",
            metadata={"allowed": ",".join(limits.extensions)},
        )
    return EXTENSIONS[extension]


def _file_name_fault(file_name: str) -> str:
    if not file_name:
        return "is missing"
    if "/" in file_name or "\\" in file_name:
        return "holds a path"
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in file_name):
        return "holds a control character"
    if hidden_in(file_name):
        return "holds a mark that turns the reading direction"
    stem = file_name.rpartition(".")[0] or file_name
    if file_name != file_name.strip() or file_name.startswith(".") or not can_be_seen(stem):
        return "is not a plain name"
    return ""
