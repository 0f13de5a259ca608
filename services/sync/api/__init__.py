"""HTTP in and out, by resource."""

from services import ledger_http
from services.sync.api import (
    agreement,
    cite,
    collections,
    exports,
    history,
    items,
    landing,
    map,
    networks,
    observed,
    places,
    points,
    proposals,
    spoken,
    stats,
    tiles,
)

ROUTES = (
    *map.ROUTES,
    *landing.ROUTES,
    *collections.ROUTES,
    *items.ROUTES,
    *places.ROUTES,
    *points.ROUTES,
    *spoken.ROUTES,
    *history.ROUTES,
    *stats.ROUTES,
    *exports.ROUTES,
    *cite.ROUTES,
    *tiles.ROUTES,
    *proposals.ROUTES,
    *networks.ROUTES,
    *agreement.ROUTES,
    *observed.ROUTES,
    *ledger_http.ROUTES,
)
