"""The settings of a notify: `MAILLAGE_NOTIFY_*` in the environment."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.place import NodeId

PREFIX = "MAILLAGE_NOTIFY_"


class Settings(Struct, frozen=True):
    """Everything that an operator can say about her notify."""

    database_url: Annotated[str, Meta(description="PostgreSQL URL of the notify's own database.")]
    follow: Annotated[str, Meta(description="URL of the sync or the registry whose changes it tells.")]
    follow_node: Annotated[
        NodeId | None, Meta(description="Id of that node; without it, whoever answers there first.")
    ] = None
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8480
    url: Annotated[str, Meta(description="Public URL of this notify.")] = "http://127.0.0.1:8480"
    silence_s: Annotated[
        float, Meta(gt=0, description="Seconds after which a silent stream gives a sign of life.")
    ] = 15.0
    slow_s: Annotated[
        float, Meta(gt=0, description="Seconds after which a stream that is not read is closed.")
    ] = 30.0
    database_pool: Annotated[int, Meta(ge=3, description="Connections to the database at most.")] = 10
    database_wait: Annotated[float, Meta(ge=0, description="Seconds to wait for the database at start.")] = (
        30.0
    )
    max_connections: Annotated[int, Meta(ge=1, description="HTTP connections at the same time.")] = 1000
