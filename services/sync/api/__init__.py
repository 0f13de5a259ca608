"""HTTP in and out, by resource."""

from services import ledger_http
from services.sync.api import agreement, items, places

ROUTES = (*items.ROUTES, *places.ROUTES, *agreement.ROUTES, *ledger_http.ROUTES)
