"""The variables of a process that decodes pictures."""

from __future__ import annotations

from pydantic import BaseModel, Field

from services.chassis.picture_decoding.limits import DecodeLimits


class DecodeSettings(BaseModel):
    """How pictures are decoded: each in a process of its own kind, which ends when one takes too much."""

    decode_cpu_s: int = Field(10, ge=1, le=600, description="processor seconds that one picture may take")
    decode_wall_s: float = Field(30.0, ge=1, le=3600, description="seconds that one picture may take in all")
    decode_memory_mib: int = Field(480, ge=64, le=65_536, description="MiB that one picture may take while decoded")
    decode_pictures_per_process: int = Field(
        200, ge=1, le=1_000_000, description="pictures after which a decoding process is replaced"
    )

    @property
    def decode_limits(self) -> DecodeLimits:
        """What a decoder's process gets for one picture."""
        return DecodeLimits(
            cpu_s=self.decode_cpu_s,
            wall_s=self.decode_wall_s,
            memory_mib=self.decode_memory_mib,
            pictures=self.decode_pictures_per_process,
        )


class DecodePoolSettings(DecodeSettings):
    """The same for a service that decodes several at a time."""

    decode_processes: int = Field(2, ge=1, le=64, description="processes that decode pictures, one at a time each")
