"""HTTP in and out, by resource."""

from services import ledger_http
from services.registry.api import areas, claims, exports, imports, places, vocabulary

ROUTES = (
    *places.ROUTES,
    *claims.ROUTES,
    *areas.ROUTES,
    *vocabulary.ROUTES,
    *imports.ROUTES,
    *exports.ROUTES,
    *ledger_http.ROUTES,
)
