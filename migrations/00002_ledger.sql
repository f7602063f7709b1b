-- The audit trail. Append-only, and that not by convention: the database refuses anything else.
--
-- Who runs Accord in earnest gives it two roles. The owner runs the migrations; the one the processes sign in with owns
-- nothing and gets
--   GRANT SELECT, INSERT ON ledger;
--   GRANT SELECT, INSERT, UPDATE, DELETE on the other tables.
-- Then the processes cannot switch off the triggers below either, which only the owner or a superuser can. What those
-- two do is found by `accord audit verify`.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE ledger (
  customer_id  text        COLLATE "C" NOT NULL CONSTRAINT ledger_customer_fk REFERENCES customers (id) ON DELETE RESTRICT,
  seq          bigint      NOT NULL,
  operation_id text        COLLATE "C" NOT NULL,
  event        text        NOT NULL,
  at           timestamptz NOT NULL,
  body         bytea       NOT NULL,
  prev_hash    bytea       NOT NULL,
  hash         bytea       NOT NULL,
  CONSTRAINT ledger_pk PRIMARY KEY (customer_id, seq),
  CONSTRAINT ledger_seq_positive CHECK (seq > 0),
  CONSTRAINT ledger_event CHECK (event IN ('requested', 'applied', 'compensated', 'needs_attention', 'retry_requested', 'compensation_requested')),
  CONSTRAINT ledger_at_finite CHECK (isfinite(at)),
  CONSTRAINT ledger_hash_length CHECK (octet_length(prev_hash) = 32 AND octet_length(hash) = 32)
);

COMMENT ON TABLE ledger IS 'Append-only. Each row carries the hash of the one before; the end of each chain is in customers.';
COMMENT ON COLUMN ledger.body IS 'The entry as JSON, byte for byte what was hashed. To read it: convert_from(body, ''UTF8'')::json.';

-- +goose StatementBegin
CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
-- ALWAYS: session_replication_role = replica, which skips ordinary triggers, does not skip these.
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_append_only;
ALTER TABLE ledger ENABLE ALWAYS TRIGGER ledger_no_truncate;

REVOKE UPDATE, DELETE, TRUNCATE ON ledger FROM PUBLIC;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00002_ledger: an audit trail is not dropped';
END $$;
-- +goose StatementEnd
