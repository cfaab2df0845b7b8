"""A floor's settings are a frozen model that knows no other field."""

from pydantic import BaseModel, ConfigDict


class Floor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
