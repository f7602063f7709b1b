-- Customers, their queue of operations, and what each operation has done at each target.
--
-- Ids are compared byte for byte (COLLATE "C"): it is faster, and an upgrade of the machine's locale data cannot
-- corrupt their indexes.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE customers (
  id          text        COLLATE "C" CONSTRAINT customers_pk PRIMARY KEY,
  version     bigint      NOT NULL,
  state       jsonb       NOT NULL,
  last_number bigint      NOT NULL,
  turn        bigint      NOT NULL,
  run         bigint      NOT NULL,
  turn_since  timestamptz,
  looked_at   timestamptz,
  ledger_seq  bigint      NOT NULL,
  ledger_hash bytea       NOT NULL,
  created_at  timestamptz NOT NULL,
  updated_at  timestamptz NOT NULL,
  CONSTRAINT customers_id_length CHECK (octet_length(id) BETWEEN 1 AND 255),
  CONSTRAINT customers_counters CHECK (version >= 0 AND last_number >= 0 AND ledger_seq >= 0),
  CONSTRAINT customers_turn_in_queue CHECK (turn BETWEEN 0 AND last_number AND run BETWEEN 0 AND last_number),
  CONSTRAINT customers_turn_has_run CHECK ((turn = 0) = (run = 0) AND (turn = 0) = (turn_since IS NULL)),
  CONSTRAINT customers_ledger_hash_length CHECK (octet_length(ledger_hash) = 32)
) WITH (fillfactor = 80); -- nothing but the key is indexed, so an update stays on its page (HOT)

COMMENT ON TABLE customers IS 'One account each. Whoever changes anything about a customer locks the row first (SELECT … FOR UPDATE).';
COMMENT ON COLUMN customers.state IS 'The preferences as last applied.';
COMMENT ON COLUMN customers.turn IS 'Number of the operation that may be worked on, 0 for none. Held exactly while some operation is open.';
COMMENT ON COLUMN customers.run IS 'Number that names the workflow run which holds the turn, 0 for none.';
COMMENT ON COLUMN customers.looked_at IS 'When the sweeper last made sure that the turn has an open run.';
COMMENT ON COLUMN customers.ledger_seq IS 'End of the ledger''s chain, with ledger_hash: kept apart from the ledger so that a missing end shows.';

CREATE TABLE operations (
  id              text        COLLATE "C" CONSTRAINT operations_pk PRIMARY KEY,
  customer_id     text        COLLATE "C" NOT NULL CONSTRAINT operations_customer_fk REFERENCES customers (id) ON DELETE RESTRICT,
  number          bigint      NOT NULL,
  kind            text        NOT NULL,
  status          text        NOT NULL,
  source          text        NOT NULL,
  actor_type      text        NOT NULL,
  actor_id        text        NOT NULL,
  origin          jsonb       NOT NULL,
  change          jsonb       NOT NULL,
  targets         text[]      NOT NULL,
  accepted_at     timestamptz NOT NULL,
  deadline        timestamptz,
  started_at      timestamptz,
  settled_at      timestamptz,
  before          jsonb       NOT NULL,
  after           jsonb       NOT NULL,
  reason          jsonb,
  decision        text,
  idempotency_key text,
  fingerprint     text,
  run             bigint      NOT NULL,
  CONSTRAINT operations_number_positive CHECK (number > 0),
  CONSTRAINT operations_kind CHECK (kind IN ('grant', 'withdrawal')),
  CONSTRAINT operations_status CHECK (status IN ('accepted', 'running', 'needs_attention', 'compensating', 'applied', 'compensated')),
  CONSTRAINT operations_source CHECK (source IN ('app', 'operator', 'token_move', 'default', 'crm', 'push', 'cmp', 'email_link', 'reconciliation')),
  CONSTRAINT operations_actor_type CHECK (actor_type IN ('customer', 'operator', 'system')),
  CONSTRAINT operations_targets_known CHECK (targets <@ ARRAY['crm', 'push', 'cmp']),
  CONSTRAINT operations_decision CHECK (decision IN ('retry', 'compensate')),
  CONSTRAINT operations_deadline_of_grants CHECK ((kind = 'grant') = (deadline IS NOT NULL)),
  CONSTRAINT operations_settled_at CHECK ((status IN ('applied', 'compensated')) = (settled_at IS NOT NULL)),
  CONSTRAINT operations_customer_number_unique UNIQUE (customer_id, number)
);

COMMENT ON COLUMN operations.before IS 'Expected while it waits in the queue, what held once it runs; as after.';
COMMENT ON COLUMN operations.run IS 'Number of the workflow run that has or had the turn for it, 0 while it waits.';
COMMENT ON COLUMN operations.decision IS 'An operator''s, not yet acted upon.';

CREATE UNIQUE INDEX operations_customer_key_unique ON operations (customer_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX operations_open_by_customer ON operations (customer_id, number) WHERE status IN ('accepted', 'running', 'needs_attention', 'compensating');
CREATE INDEX operations_open_by_status ON operations (status, accepted_at, id) WHERE status IN ('accepted', 'running', 'needs_attention', 'compensating');
CREATE INDEX operations_waiting_grants ON operations (deadline) WHERE status = 'accepted' AND kind = 'grant';
CREATE INDEX operations_by_age ON operations (accepted_at, id);

CREATE TABLE operation_targets (
  operation_id text        COLLATE "C" NOT NULL CONSTRAINT operation_targets_operation_fk REFERENCES operations (id) ON DELETE RESTRICT,
  target       text        NOT NULL,
  state        text        NOT NULL,
  assignment   jsonb,
  moved        jsonb,
  maybe_done   boolean     NOT NULL,
  attempts     integer     NOT NULL,
  code         text        NOT NULL,
  updated_at   timestamptz NOT NULL,
  CONSTRAINT operation_targets_pk PRIMARY KEY (operation_id, target),
  CONSTRAINT operation_targets_target CHECK (target IN ('crm', 'push', 'cmp')),
  CONSTRAINT operation_targets_state CHECK (state IN ('pending', 'applying', 'applied', 'refused', 'undoing', 'restored', 'skipped')),
  CONSTRAINT operation_targets_attempts CHECK (attempts >= 0)
);

COMMENT ON COLUMN operation_targets.assignment IS 'What is written and how to take it back, fixed before the first write. Null while nothing has been written.';
COMMENT ON COLUMN operation_targets.maybe_done IS 'Some attempt may have had its effect.';

CREATE TABLE device_tokens (
  token_hash  bytea       NOT NULL,
  customer_id text        COLLATE "C" NOT NULL CONSTRAINT device_tokens_customer_fk REFERENCES customers (id) ON DELETE CASCADE,
  device_id   text        COLLATE "C" NOT NULL,
  updated_at  timestamptz NOT NULL,
  CONSTRAINT device_tokens_pk PRIMARY KEY (token_hash, customer_id),
  CONSTRAINT device_tokens_hash_length CHECK (octet_length(token_hash) = 32)
);

COMMENT ON TABLE device_tokens IS 'Who has registered a push token (its SHA-256). The device itself is in the customer''s state.';

CREATE INDEX device_tokens_by_customer ON device_tokens (customer_id);

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00001_accounts: it would drop what customers have chosen; restore a backup instead';
END $$;
-- +goose StatementEnd
