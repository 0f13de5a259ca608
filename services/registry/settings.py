"""The settings of a registry: `MAILLAGE_REGISTRY_*` in the environment."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.place import License

PREFIX = "MAILLAGE_REGISTRY_"


class Settings(Struct, frozen=True):
    """Everything that an operator can say about her registry."""

    database_url: Annotated[str, Meta(description="PostgreSQL URL of the registry's own database.")]
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8400
    url: Annotated[str, Meta(description="Public URL of this registry; goes into its descriptor.")] = (
        "http://127.0.0.1:8400"
    )
    amqp_url: Annotated[
        str | None, Meta(description="URL of the network's own RabbitMQ account; without it, no broker.")
    ] = None
    amqp_public_url: Annotated[
        str | None, Meta(description="URL of the account that may only read the stream; public.")
    ] = None
    key_dir: Annotated[str, Meta(description="Folder of the online signing keys.")] = "keys"
    slug: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$", description="Short name of the network.")
    ] = "reseau"
    name: Annotated[str, Meta(min_length=1, max_length=200, description="Name of the network.")] = "Réseau"
    license: Annotated[License, Meta(description="Licence of records that do not name one.")] = "etalab-2.0"
    contact: Annotated[str, Meta(description="Where people can write to the network.")] = ""
    heartbeat_s: Annotated[
        int, Meta(ge=1, description="Seconds after which an idle log is signed again.")
    ] = 60
    feed_keeps: Annotated[
        int | None,
        Meta(ge=1000, description="How many of the last events the feed holds at least; without it, all."),
    ] = None
    database_pool: Annotated[int, Meta(ge=3, description="Connections to the database at most.")] = 10
    database_wait: Annotated[float, Meta(ge=0, description="Seconds to wait for the database at start.")] = (
        30.0
    )
    max_connections: Annotated[int, Meta(ge=1, description="HTTP connections at the same time.")] = 1000
    upload_bytes: Annotated[int, Meta(ge=1, description="Size of an uploaded list at most, in bytes.")] = (
        2 * 1024**3
    )
    proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Ranges of proxies, like 127.0.0.1/32, whose `X-Forwarded-For` says who sends a report."
        ),
    ] = ()
    witnesses: Annotated[
        tuple[str, ...], Meta(description="URLs of syncs that may give back what this registry has lost.")
    ] = ()
    tiles_url: Annotated[
        str | None,
        Meta(
            pattern=r"^https?://[^/{}\s;,']+/[^\s;,']*\{z\}[^\s;,']*$(?!\n)",
            description="Background tiles for the map, like https://host/{z}/{x}/{y}.png; without it, our own.",
        ),
    ] = None
    tiles_attribution: Annotated[
        str, Meta(max_length=300, description="Who made the background tiles, as the map says it.")
    ] = ""
