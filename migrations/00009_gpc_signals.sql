-- +goose Up

-- Global Privacy Control: the browsers of a customer that send the signal now, each since when, and whether it was acted on.
-- A row goes when a request comes from the same browser without the signal, so that one that comes anew is another.
CREATE TABLE gpc_signals (
    customer_id  text        NOT NULL,
    installation text        NOT NULL, -- empty where the client does not name one
    since        timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    honoured     boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (customer_id, installation)
);

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN
  RAISE EXCEPTION 'there is no way back from 00009_gpc_signals: it would drop what customers have signalled; restore a backup instead';
END $$;
-- +goose StatementEnd
