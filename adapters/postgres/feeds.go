package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

var _ ports.Feeds = (*DB)(nil)

// Feed implements ports.Feeds.
func (db *DB) Feed(ctx context.Context, name string) (state ports.FeedState, err error) {
	err = db.wireRead(ctx, "read a feed's state", func(ctx context.Context, conn *pgx.Conn) error {
		var pulled pgtype.Timestamptz
		err := conn.QueryRow(ctx, `SELECT cursor, pulled_at FROM upstream_feeds WHERE name = $1`, name).Scan(&state.Cursor, &pulled)
		if pulled.Valid {
			state.PulledAt = pulled.Time.UTC()
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return state, translate("read a feed's state", err)
}

// Advance implements ports.Feeds. One statement; when the connection breaks, somebody (maybe we) was quicker.
func (db *DB) Advance(ctx context.Context, name, from, to string, complete time.Time) (moved bool, err error) {
	err = db.wireRead(ctx, "advance a feed", func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `WITH known AS (
			  UPDATE upstream_feeds SET cursor = $3, pulled_at = GREATEST(pulled_at, $4), failed_at = NULL, failure = ''
			  WHERE name = $1 AND cursor = $2 RETURNING 1),
			fresh AS (
			  INSERT INTO upstream_feeds (name, cursor, pulled_at) SELECT $1, $3, $4::timestamptz
			  WHERE $2 = '' AND NOT EXISTS (SELECT FROM known) ON CONFLICT DO NOTHING RETURNING 1)
			SELECT EXISTS (SELECT FROM known) OR EXISTS (SELECT FROM fresh)`, name, from, to, timeOrNull(complete)).Scan(&moved)
	})
	return moved, translate("advance a feed", err)
}

// Failed implements ports.Feeds.
func (db *DB) Failed(ctx context.Context, name, code string, at time.Time) error {
	return db.wireExec(ctx, "record that a feed failed", `INSERT INTO upstream_feeds (name, cursor, failed_at, failure) VALUES ($1, '', $2, $3)
		ON CONFLICT (name) DO UPDATE SET failed_at = excluded.failed_at, failure = excluded.failure`, name, at, code)
}

// Refuse implements ports.Feeds.
func (db *DB) Refuse(ctx context.Context, r ports.Refusal) error {
	document, err := json.Marshal(r.Campaign)
	if err != nil {
		return translate("keep a refusal", err)
	}
	d := r.Campaign.Draft
	return db.wireExec(ctx, "keep a refusal", `INSERT INTO upstream_refusals (source, external_id, code, detail, document, first_at, last_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)
		ON CONFLICT (source, external_id) DO UPDATE SET code = excluded.code, detail = excluded.detail, document = excluded.document,
		  last_at = excluded.last_at`, nameable(d.Source), nameable(d.ExternalID), r.Code, nameable(r.Detail), string(document), r.At)
}

// nameable makes of a name that breaks every rule one that the database takes. The document has it as it came.
func nameable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Refusals implements ports.Feeds.
func (db *DB) Refusals(ctx context.Context, limit int) (refusals []ports.Refusal, err error) {
	err = db.wireRead(ctx, "list refusals", func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT document::text, code, detail, last_at FROM upstream_refusals ORDER BY last_at, source, external_id LIMIT $1`, limit)
		if err != nil {
			return err
		}
		refusals, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r ports.Refusal, err error) {
			var document string
			if err := row.Scan(&document, &r.Code, &r.Detail, &r.At); err != nil {
				return r, err
			}
			r.At = r.At.UTC()
			return r, json.Unmarshal([]byte(document), &r.Campaign)
		})
		return err
	})
	return refusals, translate("list refusals", err)
}

// Accept implements ports.Feeds.
func (db *DB) Accept(ctx context.Context, source, externalID string) error {
	return db.wireExec(ctx, "forget a refusal", `DELETE FROM upstream_refusals WHERE source = $1 AND external_id = $2`, nameable(source), nameable(externalID))
}

// OwnMessages implements ports.Feeds.
func (db *DB) OwnMessages(ctx context.Context, source string, customer preference.CustomerID) (own map[string]inbox.MessageID, err error) {
	err = db.wireRead(ctx, "list a customer's messages", func(ctx context.Context, conn *pgx.Conn) error {
		own = map[string]inbox.MessageID{}
		rows, err := conn.Query(ctx, `SELECT m.external_id, m.id FROM inboxes b JOIN inbox_items i ON i.inbox_id = b.id JOIN messages m ON m.id = i.message_id
			WHERE b.viewer = $1 AND i.state < 2 AND i.expires_at > statement_timestamp() AND m.source = $2 AND m.retracted_at IS NULL`,
			inbox.CustomerViewer(customer).Key(), source)
		if err != nil {
			return err
		}
		var name string
		var id inbox.MessageID
		_, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error {
			own[name] = id
			return nil
		})
		return err
	})
	return own, translate("list a customer's messages", err)
}

// wireExec runs one statement that may be repeated.
func (db *DB) wireExec(ctx context.Context, doing, statement string, args ...any) error {
	err := db.wireRead(ctx, doing, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement, args...)
		return err
	})
	return translate(doing, err)
}
