-- Checkpoints: the ends of the ledger's chains in one log, whose root is signed and handed out. Whoever keeps one outside
-- can tell afterwards whether anything that was sealed by then was changed since, by whomever.

-- +goose Up
SET LOCAL lock_timeout = '10s';

-- What has grown since the last checkpoint. Nothing but a heap: a row is added with each entry, and a checkpoint takes
-- all that it sees, so one of a transaction that commits later is the next one's.
CREATE TABLE ledger_growth (
  chain text   COLLATE "C" NOT NULL,
  seq   bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000); -- rows come and go
INSERT INTO ledger_growth SELECT chain, ledger_seq FROM customers WHERE ledger_seq > 0
  UNION ALL SELECT chain, ledger_seq FROM erased_chains;

CREATE TABLE ledger_leaves (
  index bigint CONSTRAINT ledger_leaves_pk PRIMARY KEY,
  chain text   COLLATE "C" NOT NULL,
  seq   bigint NOT NULL,
  hash  bytea  NOT NULL,
  CONSTRAINT ledger_leaves_hash_length CHECK (octet_length(hash) = 32)
);
CREATE UNIQUE INDEX ledger_leaves_by_chain ON ledger_leaves (chain, seq);

COMMENT ON TABLE ledger_leaves IS 'Append-only. The end of a chain at a checkpoint, from 0 without a gap.';

CREATE TABLE ledger_tree (
  index bigint CONSTRAINT ledger_tree_pk PRIMARY KEY,
  hash  bytea  NOT NULL
);

COMMENT ON TABLE ledger_tree IS 'Append-only. The hashes of the leaves and of every full subtree above them, in the order in which they became known; they are worked out of the leaves and make proofs quick.';

CREATE TABLE ledger_checkpoints (
  number    bigint      CONSTRAINT ledger_checkpoints_pk PRIMARY KEY,
  size      bigint      NOT NULL,
  root      bytea       NOT NULL,
  sealed_at timestamptz NOT NULL,
  note      text        NOT NULL,
  verifier  text        NOT NULL,
  CONSTRAINT ledger_checkpoints_size_unique UNIQUE (size)
);

COMMENT ON TABLE ledger_checkpoints IS 'Append-only. number counts from 1.';
COMMENT ON COLUMN ledger_checkpoints.note IS 'The checkpoint, signed, as it is handed out.';
COMMENT ON COLUMN ledger_checkpoints.verifier IS 'What the signature is verified by, for convenience: who does not trust this database has it from elsewhere.';

-- +goose StatementBegin
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['ledger_leaves', 'ledger_tree', 'ledger_checkpoints'] LOOP
    EXECUTE format('CREATE TRIGGER %s_append_only BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger_refuse()', t, t);
    EXECUTE format('CREATE TRIGGER %s_no_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()', t, t);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %s_append_only', t, t);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %s_no_truncate', t, t);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %s FROM PUBLIC', t);
  END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00006_ledger_checkpoints: what was sealed stays so';
END $$;
-- +goose StatementEnd
