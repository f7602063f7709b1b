-- Erasures of the last minutes, so that what was on its way does not come after them.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE erased_viewers (
  digest bytea       NOT NULL,
  at     timestamptz NOT NULL,
  CONSTRAINT erased_viewers_pk PRIMARY KEY (digest)
);

COMMENT ON TABLE erased_viewers IS 'Who was erased in the last ten minutes: by then every process has stored whom it had seen before.';
COMMENT ON COLUMN erased_viewers.digest IS 'SHA-256 of the viewer.';

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00013_erased_viewers: restore a backup instead';
END $$;
-- +goose StatementEnd
