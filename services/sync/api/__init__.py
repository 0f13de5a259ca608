"""HTTP in and out, by resource."""

from services import ledger_http, legal
from services.sync.api import (
    agreement,
    cite,
    collections,
    exports,
    federation,
    history,
    items,
    landing,
    map,
    networks,
    observed,
    points,
    portraits,
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
    *portraits.ROUTES,
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
    *federation.ROUTES,
    *legal.ROUTES,
    *ledger_http.ROUTES,
)
