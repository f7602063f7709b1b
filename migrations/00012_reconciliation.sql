-- Reconciliation: who is to be compared with what the targets hold, and how far the round over everybody is.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE reconciliation_due (
  customer_id text        COLLATE "C" NOT NULL,
  due_at      timestamptz NOT NULL,
  CONSTRAINT reconciliation_due_pk PRIMARY KEY (customer_id, due_at)
);
CREATE INDEX reconciliation_due_by_time ON reconciliation_due (due_at);

COMMENT ON TABLE reconciliation_due IS 'A customer is due once for each time. No foreign key: who is gone is found to be gone.';

-- One row: how far things are.
CREATE TABLE reconciliation_progress (
  one            boolean     CONSTRAINT reconciliation_progress_pk PRIMARY KEY DEFAULT true CHECK (one),
  settled_until  timestamptz NOT NULL,
  round_after    text        COLLATE "C" NOT NULL,
  round_began    timestamptz,
  round_ended    timestamptz
);
INSERT INTO reconciliation_progress (settled_until, round_after) VALUES (now(), '');

COMMENT ON COLUMN reconciliation_progress.settled_until IS 'Operations that settled before were looked at.';
COMMENT ON COLUMN reconciliation_progress.round_after IS 'Customers up to here were looked at in this round; empty when none is under way.';

CREATE INDEX operations_compensated_by_time ON operations (settled_at) WHERE status = 'compensated';

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00012_reconciliation: restore a backup instead';
END $$;
-- +goose StatementEnd
