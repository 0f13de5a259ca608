-- By what lists choose and are sorted, as flat features show it.
ALTER TABLE view
    ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN folded text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN kind text COLLATE "C",
    ADD COLUMN postcode text COLLATE "C",
    ADD COLUMN city text COLLATE "C",
    ADD COLUMN country text COLLATE "C",
    ADD COLUMN precision text COLLATE "C",
    ADD COLUMN types text[] NOT NULL DEFAULT '{}',
    ADD COLUMN services text[] NOT NULL DEFAULT '{}',
    ADD COLUMN labels text[] NOT NULL DEFAULT '{}',
    ADD COLUMN voices integer NOT NULL DEFAULT 0,
    ADD COLUMN opened_year integer,
    ADD COLUMN closed_year integer,
    ADD COLUMN updated timestamptz NOT NULL DEFAULT '-infinity',
    ALTER COLUMN status TYPE text COLLATE "C",
    ALTER COLUMN departement TYPE text COLLATE "C",
    ALTER COLUMN insee TYPE text COLLATE "C",
    -- Lists read the rest of a row: what only one place is read for stands aside.
    ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE view SET (toast_tuple_target = 1024);
DROP INDEX view_position;
CREATE INDEX view_point ON view USING gist (point(lon, lat));
CREATE INDEX view_name ON view (folded, id);
CREATE INDEX view_updated ON view (updated, id);
CREATE INDEX view_departement ON view (departement);
CREATE INDEX view_insee ON view (insee);
CREATE INDEX view_families ON view USING gin (families);
CREATE INDEX view_types ON view USING gin (types);
-- What a text search looks at: stems and words of the name, other names and the city, and what it is in short.
CREATE FUNCTION searched(words text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT setweight(to_tsvector('french', split_part(words, E'\n', 1)), 'A')
        || setweight(to_tsvector('simple', split_part(words, E'\n', 1)), 'A')
        || setweight(to_tsvector('french', split_part(words, E'\n', 2)), 'B')
        || setweight(to_tsvector('simple', split_part(words, E'\n', 2)), 'B')
        || setweight(to_tsvector('simple', split_part(words, E'\n', 3)), 'C')
        || setweight(to_tsvector('french', split_part(words, E'\n', 4)), 'D')
        || setweight(to_tsvector('simple', split_part(words, E'\n', 4)), 'D')
$$;
CREATE TABLE search (
    id text COLLATE "C" PRIMARY KEY,
    doc tsvector NOT NULL
);
CREATE INDEX search_doc ON search USING gin (doc);
-- Places that have changed since; until their turn comes their words are read where they stand.
CREATE TABLE unsearched (
    no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL
);
CREATE INDEX unsearched_id ON unsearched (id);
INSERT INTO unsearched (id) SELECT id FROM view;
-- The words that places have, and the pairs and triples of letters by which those like a mistyped one are found.
CREATE TABLE lexicon (
    word text COLLATE "C" PRIMARY KEY,
    grams text[] NOT NULL
);
CREATE INDEX lexicon_grams ON lexicon USING gin (grams);
-- Words of networks and named areas, as the merged logs say them: `word` or `area`, and the record's data.
CREATE TABLE spoken (
    record text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX spoken_kind ON spoken (kind, record);
-- How often what answers lean on has changed beside the log, and of which version the columns of the view are.
ALTER TABLE merge
    ADD COLUMN turns bigint NOT NULL DEFAULT 0,
    ADD COLUMN columns integer NOT NULL DEFAULT 0;
