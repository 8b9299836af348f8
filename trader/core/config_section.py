"""What every table of the config is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the config: frozen, and nothing in it that is not documented."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
