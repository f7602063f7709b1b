-- Mail providers unsubscribe on behalf of a customer (RFC 8058, one-click).

-- +goose Up
SET LOCAL lock_timeout = '10s';

ALTER TABLE operations
  DROP CONSTRAINT operations_actor_type,
  -- NOT VALID: no row breaks the wider rule, and nobody waits for the table to be read.
  ADD CONSTRAINT operations_actor_type CHECK (actor_type IN ('customer', 'operator', 'system', 'mail_provider')) NOT VALID;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00008_mail_providers: rows may name a mail provider; restore a backup instead';
END $$;
-- +goose StatementEnd
