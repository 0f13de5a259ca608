"""HTTP in and out, by resource."""

from services import ledger_http
from services.sync.api import (
    agreement,
    exports,
    history,
    items,
    networks,
    observed,
    places,
    points,
    proposals,
    spoken,
    stats,
)

ROUTES = (
    *items.ROUTES,
    *places.ROUTES,
    *points.ROUTES,
    *spoken.ROUTES,
    *history.ROUTES,
    *stats.ROUTES,
    *exports.ROUTES,
    *proposals.ROUTES,
    *networks.ROUTES,
    *agreement.ROUTES,
    *observed.ROUTES,
    *ledger_http.ROUTES,
)
