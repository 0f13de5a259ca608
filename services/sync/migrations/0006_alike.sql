-- What the matcher knows of each present record; `hints` as numbers, `body` whole.
CREATE TABLE profile (
    no bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    record text COLLATE "C" PRIMARY KEY,
    network text COLLATE "C" NOT NULL,
    hints bigint[] NOT NULL,
    body bytea NOT NULL
);
-- Under which keys, as numbers, a record meets others.
CREATE TABLE reach (
    key bigint NOT NULL,
    no bigint NOT NULL,
    PRIMARY KEY (key, no)
);
CREATE INDEX reach_no ON reach (no);
-- Pairs of records of two networks that are alike: the explanation of their points, and why they are not one place.
CREATE TABLE alike (
    a text COLLATE "C" NOT NULL,
    b text COLLATE "C" NOT NULL,
    points integer NOT NULL,
    features bytea NOT NULL,
    why text,
    PRIMARY KEY (a, b)
);
CREATE INDEX alike_b ON alike (b);
-- Records and the ones that they were copied from.
CREATE TABLE copy (
    record text COLLATE "C" PRIMARY KEY,
    original text COLLATE "C" NOT NULL
);
CREATE INDEX copy_original ON copy (original);
-- Whether nobody is told where the place is, below its commune.
ALTER TABLE view ADD COLUMN hidden boolean NOT NULL DEFAULT false;
-- The policy itself by which the view is made.
ALTER TABLE merge ADD COLUMN document bytea;
