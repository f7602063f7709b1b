-- Events that systems outside have told us, so that each counts once.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE webhook_events (
  source       text        COLLATE "C" NOT NULL,
  event_id     text        COLLATE "C" NOT NULL,
  customer_id  text        COLLATE "C",
  outcome      text        NOT NULL,
  reason       text        NOT NULL,
  operation_id text        COLLATE "C",
  received_at  timestamptz NOT NULL DEFAULT statement_timestamp(),
  CONSTRAINT webhook_events_pk PRIMARY KEY (source, event_id),
  CONSTRAINT webhook_events_outcome CHECK (outcome IN ('accepted', 'unchanged', 'superseded', 'echo', 'required', 'ignored'))
);

COMMENT ON COLUMN webhook_events.event_id IS 'A hash of it, as senders like to put a person''s id into it.';
COMMENT ON TABLE webhook_events IS 'What was received, and what became of it. Kept for thirty days.';
COMMENT ON COLUMN webhook_events.customer_id IS 'Who it was about, null where it named nobody, or where that person was erased: the event must not count again all the same.';

CREATE INDEX webhook_events_by_age ON webhook_events (received_at);
CREATE INDEX webhook_events_by_customer ON webhook_events (customer_id) WHERE customer_id IS NOT NULL;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00010_webhook_events: it would take what was told twice for new; restore a backup instead';
END $$;
-- +goose StatementEnd
