"""HTTP in and out, by resource."""

from services import ledger_http
from services.sync.api import agreement, items, networks, places

ROUTES = (*items.ROUTES, *places.ROUTES, *networks.ROUTES, *agreement.ROUTES, *ledger_http.ROUTES)
