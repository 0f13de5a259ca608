"""HTTP in and out, by resource."""

from services import ledger_http
from services.registry.api import areas, claims, exports, imports, pages, places, points, reports, vocabulary

ROUTES = (
    *places.ROUTES,
    *claims.ROUTES,
    *areas.ROUTES,
    *vocabulary.ROUTES,
    *imports.ROUTES,
    *exports.ROUTES,
    *points.ROUTES,
    *pages.ROUTES,
    *reports.ROUTES,
    *ledger_http.ROUTES,
)
