-- The second recipe of the ledger: chains that name nobody, entries that are sealed under a key of the chain's own, and
-- what is left of a chain when its person was erased.

-- +goose Up
SET LOCAL lock_timeout = '10s';

ALTER TABLE customers
  ADD COLUMN chain    text COLLATE "C",
  ADD COLUMN data_key bytea;

-- Who is there already keeps the chain of that name: its entries carry it.
UPDATE customers SET chain = id;

ALTER TABLE customers
  ALTER COLUMN chain SET NOT NULL,
  ADD CONSTRAINT customers_chain_unique UNIQUE (chain), -- never changed, so an update still stays on its page (HOT)
  ADD CONSTRAINT customers_chain_length CHECK (octet_length(chain) BETWEEN 1 AND 255);

COMMENT ON COLUMN customers.chain IS 'Under which name the customer''s entries are in the ledger. Random, but for those who were there before it was.';
COMMENT ON COLUMN customers.data_key IS 'What the entries are sealed under, itself sealed under a key that is not in the database. Null for a chain that nothing was sealed in yet.';

ALTER TABLE ledger DROP CONSTRAINT ledger_customer_fk;
ALTER TABLE ledger RENAME COLUMN customer_id TO chain;
ALTER TABLE ledger
  ADD COLUMN form smallint NOT NULL DEFAULT 1, -- of what is there already; no row is written for it
  ADD CONSTRAINT ledger_form CHECK (form BETWEEN 1 AND 3) NOT VALID,
  DROP CONSTRAINT ledger_event,
  ADD CONSTRAINT ledger_event CHECK (event IN ('requested', 'applied', 'compensated', 'needs_attention', 'retry_requested',
    'compensation_requested', 'erased')) NOT VALID;
ALTER TABLE ledger ALTER COLUMN form DROP DEFAULT;

COMMENT ON TABLE ledger IS 'Append-only. Each row carries the hash of the one before; the end of each chain is in customers, or in erased_chains.';
COMMENT ON COLUMN ledger.chain IS 'As customers.chain. No foreign key: what is in the ledger stays when the customer goes.';
COMMENT ON COLUMN ledger.form IS '1 body in clear, by the first recipe; 2 sealed; 3 in clear, for an erasure.';
COMMENT ON COLUMN ledger.body IS 'The entry as JSON, sealed or in clear, byte for byte what was hashed. In clear it reads as convert_from(body, ''UTF8'')::json.';

-- What customers said of a chain before its person was erased, but for whom it was of.
CREATE TABLE erased_chains (
  chain       text        COLLATE "C" CONSTRAINT erased_chains_pk PRIMARY KEY,
  erasure     text        COLLATE "C" NOT NULL,
  ledger_seq  bigint      NOT NULL,
  ledger_hash bytea       NOT NULL,
  erased_at   timestamptz NOT NULL,
  CONSTRAINT erased_chains_erasure_unique UNIQUE (erasure),
  CONSTRAINT erased_chains_seq CHECK (ledger_seq > 0),
  CONSTRAINT erased_chains_hash_length CHECK (octet_length(ledger_hash) = 32)
);

COMMENT ON TABLE erased_chains IS 'Append-only, as the ledger.';
COMMENT ON COLUMN erased_chains.erasure IS 'Of whoever asked for it, once.';

CREATE TRIGGER erased_chains_append_only BEFORE UPDATE OR DELETE ON erased_chains FOR EACH ROW EXECUTE FUNCTION ledger_refuse();
CREATE TRIGGER erased_chains_no_truncate BEFORE TRUNCATE ON erased_chains FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse();
ALTER TABLE erased_chains ENABLE ALWAYS TRIGGER erased_chains_append_only;
ALTER TABLE erased_chains ENABLE ALWAYS TRIGGER erased_chains_no_truncate;
REVOKE UPDATE, DELETE, TRUNCATE ON erased_chains FROM PUBLIC;

-- Few steps have moved a token, and they name who had it.
CREATE INDEX operation_targets_moved ON operation_targets (operation_id) WHERE moved IS NOT NULL;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00005_ledger_chains: an audit trail is not dropped';
END $$;
-- +goose StatementEnd
