-- Devices that nothing was heard of for long, and registrations under way by their token.
--
-- Built without keeping anybody from writing. An attempt that was interrupted leaves an index that is not valid, which the next
-- one drops.

-- +goose NO TRANSACTION
-- +goose Up
DROP INDEX CONCURRENTLY IF EXISTS device_tokens_by_age;
CREATE INDEX CONCURRENTLY device_tokens_by_age ON device_tokens (updated_at, customer_id, device_id);
DROP INDEX CONCURRENTLY IF EXISTS operations_open_registrations;
CREATE INDEX CONCURRENTLY operations_open_registrations ON operations (md5(change->'register'->>'token'))
  WHERE status IN ('accepted', 'running', 'needs_attention', 'compensating') AND change->'register' IS NOT NULL;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00007_devices: the code looks devices up by these indexes';
END $$;
-- +goose StatementEnd
