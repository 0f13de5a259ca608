-- What the followed log said, as subscribers are told it. Epoch 0 holds what a snapshot began with.
CREATE TABLE change (
    epoch integer NOT NULL,
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    leaf bytea NOT NULL,
    before bytea,
    after bytea,
    erased boolean NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (epoch, seq)
);
CREATE INDEX change_of ON change (id, epoch, seq);
CREATE INDEX change_leaf ON change (leaf);
-- The first position after which no change is missing.
CREATE TABLE floor (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch integer NOT NULL,
    seq bigint NOT NULL
);
