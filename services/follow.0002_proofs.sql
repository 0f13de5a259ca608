-- From where on the events of a node are held without a hole, as it can be rewound to.
ALTER TABLE follow_node ADD COLUMN start_size bigint NOT NULL DEFAULT 0;
ALTER TABLE follow_node ADD COLUMN start_peaks bytea[] NOT NULL DEFAULT '{}';
-- How often what is held of a node was replaced and not only added to.
ALTER TABLE follow_node ADD COLUMN rewinds bigint NOT NULL DEFAULT 0;
-- The leaf of the erase event by which the content of an event left, and where that stands in the same chain.
ALTER TABLE follow_event ADD COLUMN erased_by bytea;
ALTER TABLE follow_event ADD COLUMN erased_at bigint;
CREATE INDEX follow_event_erased ON follow_event (node, erased_at) WHERE erased_at IS NOT NULL;
-- What a new epoch of its node cut off.
CREATE TABLE follow_dropped (
    node text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    raw bytea NOT NULL,
    kid text NOT NULL,
    sig bytea NOT NULL,
    leaf bytea NOT NULL,
    PRIMARY KEY (node, epoch, seq, leaf)
);
-- Checkpoints that were believed, as they were served.
CREATE TABLE follow_checkpoint (
    node text COLLATE "C" NOT NULL,
    epoch integer NOT NULL,
    n bigint NOT NULL,
    size bigint NOT NULL,
    log_root text NOT NULL,
    signed text NOT NULL,
    PRIMARY KEY (node, epoch, n)
);
CREATE INDEX follow_checkpoint_size ON follow_checkpoint (node, epoch, size);
-- Two things signed by one node that contradict each other: a proof for anybody.
CREATE TABLE follow_evidence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    found_at timestamptz NOT NULL,
    a text NOT NULL,
    b text NOT NULL
);
-- An event is too long for an index.
CREATE UNIQUE INDEX follow_evidence_once ON follow_evidence (node, kind, md5(a || b));
