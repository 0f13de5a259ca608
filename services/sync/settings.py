"""The settings of a sync: `MAILLAGE_SYNC_*` in the environment."""

from typing import Annotated

from msgspec import Meta

from schemas.place import License
from services.legal import Legal

PREFIX = "MAILLAGE_SYNC_"


class Settings(Legal, frozen=True):
    """Everything that an operator can say about her sync."""

    database_url: Annotated[str, Meta(description="PostgreSQL URL of the sync's own database.")]
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8500
    url: Annotated[str, Meta(description="Public URL of this sync; goes into its descriptor.")] = (
        "http://127.0.0.1:8500"
    )
    amqp_url: Annotated[
        str | None, Meta(description="URL of the sync's own RabbitMQ account; without it, no broker.")
    ] = None
    amqp_public_url: Annotated[
        str | None, Meta(description="URL of the account that may only read the sync's stream; public.")
    ] = None
    key_dir: Annotated[str, Meta(description="Folder of the signing keys.")] = "keys"
    trust: Annotated[str, Meta(description="The file that lists the nodes it listens to.")] = "trust.toml"
    policy: Annotated[
        str | None,
        Meta(description="A file with the policy by which the view is made; without it, `maillage-1`."),
    ] = None
    private_addresses: Annotated[
        tuple[str, ...],
        Meta(
            description="Ranges that are not public, like 10.1.0.0/16, where a node may say that it answers."
        ),
    ] = ()
    slug: Annotated[
        str, Meta(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$", description="Short name of the sync.")
    ] = "vue"
    name: Annotated[str, Meta(min_length=1, max_length=200, description="Who computes this view.")] = "Vue"
    license: Annotated[License, Meta(description="Licence of the view as a database.")] = "ODbL-1.0"
    contact: Annotated[str, Meta(description="Where people can write to its operator.")] = ""
    heartbeat_s: Annotated[
        int, Meta(ge=1, description="Seconds after which an idle log is signed again.")
    ] = 60
    feed_keeps: Annotated[
        int | None,
        Meta(ge=1000, description="How many of the last events the feed holds at least; without it, all."),
    ] = None
    database_pool: Annotated[int, Meta(ge=3, description="Connections to the database at most.")] = 20
    database_wait: Annotated[float, Meta(ge=0, description="Seconds to wait for the database at start.")] = (
        30.0
    )
    max_connections: Annotated[int, Meta(ge=1, description="HTTP connections at the same time.")] = 1000
    answers_bytes: Annotated[
        int, Meta(ge=0, description="Memory for answers that are kept until the view changes, in bytes.")
    ] = 32 * 1024 * 1024
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
