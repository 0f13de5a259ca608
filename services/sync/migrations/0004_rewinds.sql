-- Which state of what is held of a node was merged: where it was replaced since, all of it is merged again.
ALTER TABLE merged ADD COLUMN rewinds bigint NOT NULL DEFAULT 0;
-- Which events of the networks each event of the view shows, so that erased content leaves it as well.
CREATE TABLE told (
    leaf bytea NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (leaf, seq)
);
