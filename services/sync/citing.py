"""A state of the view as one cites it: who computes it, where, when, and who says what is in it. Pure."""

from typing import Any

from msgspec import Struct

from services.licenses import Licence


class Network(Struct, frozen=True):
    """A network that the view listens to, the licence of its records that name no other, and where it answers."""

    node: str
    name: str
    license: str
    url: str


class Cited(Struct, frozen=True):
    """A state of a view: `cursor` is its position in the view's log, and `date` the time of the last event there.

    `view_root` is what two syncs compare; of a past state nobody knows it any more. `licenses`: those under which the
    places of the view are, `?` for records that name none.
    """

    name: str
    address: str
    date: str | None
    cursor: str
    view_root: str | None
    policy_id: str
    networks: tuple[Network, ...]
    licenses: tuple[Licence, ...] = ()


def csl(cited: Cited, title: str) -> dict[str, Any]:
    """The same as an item of CSL-JSON, which programs for bibliographies read."""
    found: dict[str, Any] = {
        "id": f"{cited.address}#{cited.cursor}",
        "type": "dataset",
        "title": title,
        "author": [{"literal": network.name} for network in cited.networks],
        "publisher": cited.name,
        "URL": cited.address,
        "version": cited.cursor,
    }
    if cited.date:
        found["issued"] = {"date-parts": [[int(part) for part in cited.date[:10].split("-")]]}
    return found
