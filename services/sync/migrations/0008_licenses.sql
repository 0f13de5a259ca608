-- The licences of the records that give each place its values.
ALTER TABLE view ADD COLUMN licenses text[] NOT NULL DEFAULT '{}';
CREATE INDEX view_licenses ON view USING gin (licenses);
