"""What a site says of itself: its legal notice, what becomes of data, and that a public one leaves nothing out."""

from __future__ import annotations

import pytest

from services import legal, settings
from services.errors import Misconfigured
from services.legal import REQUIRED
from services.sync.settings import PREFIX, Settings

SAID = {name: f"{name} <dit>" for name in REQUIRED}
DATABASE = {"MAILLAGE_SYNC_DATABASE_URL": "postgresql:///x"}


def load(**said: str) -> Settings:
    """Settings of a sync, as an operator writes them."""
    return settings.load(Settings, PREFIX, DATABASE | {PREFIX + name.upper(): v for name, v in said.items()})


def test_a_public_site_with_a_gap_does_not_start() -> None:
    """Whoever invites the public without a legal notice is told exactly what is missing, and nothing else."""
    legal.insist(load(), PREFIX)
    legal.insist(load(public="yes", **SAID), PREFIX)
    for name in REQUIRED:
        for gap in (SAID | {name: " "}, {other: said for other, said in SAID.items() if other != name}):
            with pytest.raises(Misconfigured) as told:
                legal.insist(load(public="yes", **gap), PREFIX)
            assert told.value.arguments["variables"] == PREFIX + name.upper()
            legal.insist(load(public="no", **gap), PREFIX)
