-- Decisions that were made elsewhere, and changes that nobody asked for in so many words.

-- +goose Up
SET LOCAL lock_timeout = '10s';

ALTER TABLE operations
  ADD COLUMN decided_at timestamptz,
  ADD COLUMN cause      text,
  DROP CONSTRAINT operations_source,
  -- NOT VALID: no row breaks the wider rule, and nobody waits for the table to be read.
  ADD CONSTRAINT operations_source CHECK (source IN ('app', 'operator', 'token_move', 'default', 'crm', 'push', 'cmp', 'email_link',
    'reconciliation', 'gpc', 'engagement', 'external', 'maintenance')) NOT VALID;

COMMENT ON COLUMN operations.decided_at IS 'When the person decided, where that is known and was elsewhere.';
COMMENT ON COLUMN operations.cause IS 'Why, where nobody asked in so many words: a stable code.';

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00004_decisions: it would drop when customers decided; restore a backup instead';
END $$;
-- +goose StatementEnd
