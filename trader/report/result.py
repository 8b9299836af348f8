"""A finished report: the document for programs, the card for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trader.report.card import card


@dataclass(frozen=True, slots=True)
class Report:
    """What `trader report` tells. `print(report)` shows the card; `report["performance"]["sharpe"]` is a figure."""

    document: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The document (docs/report.md); what could not be computed is NaN."""
        return self.document

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def __str__(self) -> str:
        return card(self.document)
