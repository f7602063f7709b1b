-- Other systems that are told of changes, and what each of them was told.

-- +goose Up
SET LOCAL lock_timeout = '10s';

CREATE TABLE webhook_endpoints (
  id              text        COLLATE "C" CONSTRAINT webhook_endpoints_pk PRIMARY KEY,
  url             text        NOT NULL,
  description     text        NOT NULL,
  event_types     text[]      NOT NULL,
  secret          text        NOT NULL,
  old_secret      text,
  old_until       timestamptz,
  disabled        text,
  enabled_at      timestamptz NOT NULL,
  failing_since   timestamptz,
  created_at      timestamptz NOT NULL DEFAULT statement_timestamp(),
  updated_at      timestamptz NOT NULL DEFAULT statement_timestamp(),
  CONSTRAINT webhook_endpoints_old_secret CHECK ((old_secret IS NULL) = (old_until IS NULL))
);

COMMENT ON COLUMN webhook_endpoints.disabled IS 'Why nothing is sent, as a code; null while it is.';
COMMENT ON COLUMN webhook_endpoints.enabled_at IS 'What was applied before is not sent unless asked for.';

CREATE TABLE webhook_deliveries (
  id            bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT webhook_deliveries_pk PRIMARY KEY,
  endpoint_id   text        COLLATE "C" NOT NULL CONSTRAINT webhook_deliveries_endpoint_fk REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
  operation_id  text        COLLATE "C" NOT NULL,
  customer_id   text        COLLATE "C" NOT NULL,
  settled_at    timestamptz NOT NULL,
  state         text        NOT NULL DEFAULT 'pending',
  attempts      integer     NOT NULL DEFAULT 0,
  next_at       timestamptz NOT NULL DEFAULT statement_timestamp(),
  lease         text,
  status        integer,
  code          text,
  attempted_at  timestamptz,
  delivered_at  timestamptz,
  CONSTRAINT webhook_deliveries_once UNIQUE (endpoint_id, operation_id),
  CONSTRAINT webhook_deliveries_state CHECK (state IN ('pending', 'delivered', 'gone'))
);

COMMENT ON TABLE webhook_deliveries IS 'One event for one endpoint. What it says is read from the operation when it is sent.';
COMMENT ON COLUMN webhook_deliveries.next_at IS 'When it is due, or, while it is being sent, when somebody else may take it over.';
COMMENT ON COLUMN webhook_deliveries.state IS 'gone: the operation is not there any more, as the person was erased.';

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_customer ON webhook_deliveries (customer_id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (settled_at) WHERE state <> 'pending';

CREATE TABLE webhook_progress (
  the_one       boolean     CONSTRAINT webhook_progress_pk PRIMARY KEY DEFAULT true CHECK (the_one),
  settled_until timestamptz NOT NULL,
  looked_back  timestamptz NOT NULL
);

COMMENT ON TABLE webhook_progress IS 'Up to where the applied operations were handed out. Looked at again for a minute, and for a day now and then, as a commit may show later than it says.';

INSERT INTO webhook_progress (settled_until, looked_back) VALUES (statement_timestamp(), statement_timestamp());

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00011_webhook_endpoints: others rely on being told of changes; restore a backup instead';
END $$;
-- +goose StatementEnd
