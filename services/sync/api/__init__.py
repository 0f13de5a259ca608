"""HTTP in and out, by resource."""

from services import ledger_http
from services.sync.api import agreement, items, networks, observed, places, proposals

ROUTES = (
    *items.ROUTES,
    *places.ROUTES,
    *proposals.ROUTES,
    *networks.ROUTES,
    *agreement.ROUTES,
    *observed.ROUTES,
    *ledger_http.ROUTES,
)
