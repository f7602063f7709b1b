package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"gorm.io/gorm"

	"accord/domain/engagement"
	"accord/domain/inbox"
	"accord/ports"
)

var _ ports.EngagementStore = (*DB)(nil)

// recordEvents is one statement: an event's mark, what it counts for, and the answer belong together. Rows are inserted
// in the order of their keys, so that two batches of a viewer wait for each other rather than in a circle. A message's
// row is kept from being deleted meanwhile.
const recordEvents = `WITH who AS (
  SELECT ?::text AS viewer
), given AS (
  SELECT n, id, kind, least(at, now()) AS at, message
  FROM jsonb_to_recordset(?::jsonb) AS g (n int, id text, kind text, at timestamptz, message bigint)
), message AS (
  SELECT m.id, m.audience, m.campaign, m.category, m.published_at FROM messages m
  WHERE m.id IN (SELECT message FROM given) AND m.published_at <= now() ORDER BY m.id FOR KEY SHARE
), fit AS (
  SELECT n, id, kind, at, message, '' AS campaign, '' AS category FROM given WHERE kind = 'inbox_opened'
  UNION ALL
  SELECT g.n, g.id, g.kind, greatest(g.at, m.published_at), g.message, m.campaign, m.category
  FROM given g JOIN message m ON m.id = g.message
  WHERE g.kind = 'deeplink_converted' AND (m.audience = 'global' OR EXISTS (
    SELECT FROM who JOIN inboxes b ON b.viewer = who.viewer JOIN inbox_items i ON i.inbox_id = b.id
    WHERE i.message_id = m.id AND i.state > 0))
), fresh AS (
  INSERT INTO client_events (viewer, event_id, at)
  SELECT who.viewer, f.id, f.at FROM who, (SELECT DISTINCT ON (id) id, at FROM fit ORDER BY id, n) f ORDER BY f.id
  ON CONFLICT DO NOTHING RETURNING event_id
), counted AS (
  SELECT DISTINCT ON (f.id) f.*, (f.at AT TIME ZONE 'UTC')::date AS day
  FROM fit f JOIN fresh ON fresh.event_id = f.id ORDER BY f.id, f.n
), present AS (
  INSERT INTO engagement_presence (day, kind, viewer)
  SELECT DISTINCT c.day, k.kind, who.viewer
  FROM who, counted c, unnest(CASE c.kind WHEN 'inbox_opened' THEN ARRAY['viewer_present', 'inbox_opened'] ELSE ARRAY['viewer_present'] END) AS k (kind)
  ORDER BY 1, 2
  ON CONFLICT DO NOTHING RETURNING day, kind
), converted AS (
  INSERT INTO link_conversions (message_id, viewer)
  SELECT DISTINCT c.message, who.viewer FROM who, counted c WHERE c.kind = 'deeplink_converted' ORDER BY 1
  ON CONFLICT DO NOTHING RETURNING message_id
), facts AS (
  INSERT INTO engagement_facts (day, kind, campaign, category, channel, count)
  SELECT day, kind, '', '', '', 1 FROM present
  UNION ALL
  (SELECT DISTINCT ON (c.message) c.day, c.kind, c.campaign, c.category, '', 1
   FROM counted c JOIN converted v ON v.message_id = c.message AND c.kind = 'deeplink_converted' ORDER BY c.message, c.at)
)
SELECT g.n, CASE
  WHEN g.n IN (SELECT n FROM counted) THEN 'recorded'
  WHEN g.n IN (SELECT n FROM fit) OR EXISTS (SELECT FROM counted c WHERE c.id = g.id AND c.n < g.n)
    OR EXISTS (SELECT FROM who JOIN client_events e ON e.viewer = who.viewer AND e.event_id = g.id) THEN 'duplicate'
  ELSE 'refused' END
FROM given g`

// RecordEvents implements ports.EngagementStore. What counts as now is the database's clock.
func (db *DB) RecordEvents(ctx context.Context, viewer inbox.Viewer, events []ports.ClientEvent) ([]ports.EventStatus, error) {
	type given struct {
		N       int             `json:"n"`
		ID      string          `json:"id"`
		Kind    engagement.Kind `json:"kind"`
		At      time.Time       `json:"at"`
		Message inbox.MessageID `json:"message"`
	}
	rows := make([]given, len(events))
	for i, e := range events {
		rows[i] = given{i, e.ID, e.Type, e.At.UTC(), e.Message}
	}
	text, err := encode(rows)
	if err != nil {
		return nil, err
	}
	var out []ports.EventStatus
	err = db.repeatably(ctx, func(tx *gorm.DB) error {
		out = make([]ports.EventStatus, len(events))
		return query(tx, func(rows *sql.Rows) error {
			var n int
			var status string
			err := rows.Scan(&n, &status)
			out[n] = ports.EventStatus(status)
			return err
		}, recordEvents, viewer.Key(), text)
	})
	return out, translate("record events", err)
}

// RecordPresence implements ports.EngagementStore.
func (db *DB) RecordPresence(ctx context.Context, present []ports.Presence) error {
	type given struct {
		Day    string `json:"day"`
		Viewer string `json:"viewer"`
	}
	rows := make([]given, 0, len(present))
	for _, p := range present {
		if !p.Viewer.Anonymous() {
			rows = append(rows, given{p.Day.UTC().Format(time.DateOnly), p.Viewer.Key()})
		}
	}
	text, err := encode(rows)
	if err != nil {
		return err
	}
	err = db.again(ctx, func(ctx context.Context) (committing bool, err error) {
		_, err = db.tryTx(ctx, func(tx *gorm.DB) error { return recordPresence(tx, text) })
		return false, err // it changes nothing when it is repeated
	})
	return translate("record presence", err)
}

// presenceLock is held by whoever records who is there, together with others, and by an erasure alone: what was recorded before
// it is deleted by it, and what is recorded after it knows of it.
const presenceLock = `hashtextextended('presence', 0)`

// Who was erased a moment ago may still be on their way to be recorded, from a process that was slow or stood still. Later
// than this nobody is on their way any more.
const erasedLately = `interval '10 minutes'`

// recordPresence leaves out who was erased lately. Whoever comes back within these minutes is not counted as there for it.
func recordPresence(tx *gorm.DB, present string) error {
	if err := tx.Exec(`SELECT pg_advisory_xact_lock_shared(` + presenceLock + `)`).Error; err != nil {
		return err
	}
	return tx.Exec(`WITH present AS (
		  INSERT INTO engagement_presence (day, kind, viewer)
		  SELECT DISTINCT g.day, 'viewer_present', g.viewer FROM jsonb_to_recordset(?::jsonb) AS g (day date, viewer text)
		  WHERE NOT EXISTS (SELECT FROM erased_viewers e WHERE e.digest = sha256(convert_to(g.viewer, 'UTF8')) AND e.at > clock_timestamp() - `+erasedLately+`)
		  ORDER BY 1, 3
		  ON CONFLICT DO NOTHING RETURNING day
		)
		INSERT INTO engagement_facts (day, kind, campaign, category, channel, count)
		SELECT day, 'viewer_present', '', '', '', count(*) FROM present GROUP BY day`, present).Error
}

// repeatably runs a statement that changes nothing when it is repeated, so that it can be tried again even when the
// connection was lost and nobody knows whether it had its effect.
func (db *DB) repeatably(ctx context.Context, fn func(*gorm.DB) error) error {
	return db.again(ctx, func(ctx context.Context) (committing bool, err error) { return false, fn(db.gorm.WithContext(ctx)) })
}

// AddUp implements ports.EngagementStore. Facts that somebody else is adding up are left to them; the sums are changed in
// the order of their keys, so that two wait for each other rather than in a circle.
func (db *DB) AddUp(ctx context.Context, limit int) (added int64, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	_, err = queryOne(tx, []any{&added}, `WITH gone AS (
		  DELETE FROM engagement_facts WHERE ctid = ANY (ARRAY(SELECT ctid FROM engagement_facts LIMIT ? FOR UPDATE SKIP LOCKED))
		  RETURNING day, kind, campaign, category, channel, count
		), sums AS (
		  SELECT day, kind, campaign, category, channel, sum(count) AS count, count(*) AS facts FROM gone GROUP BY 1, 2, 3, 4, 5
		), days AS (
		  INSERT INTO engagement_days AS d (day, kind, campaign, category, channel, count)
		  SELECT day, kind, campaign, category, channel, count FROM sums ORDER BY kind, day, campaign, category, channel
		  ON CONFLICT (kind, day, campaign, category, channel) DO UPDATE SET count = d.count + excluded.count
		)
		SELECT coalesce(sum(facts), 0)::bigint FROM sums`, limit)
	return added, translate("add up facts", err)
}

// ForgetMarks implements ports.EngagementStore. The marks of conversions go with their message.
func (db *DB) ForgetMarks(ctx context.Context, before time.Time, limit int) (forgotten int64, err error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	_, err = queryOne(tx, []any{&forgotten}, `WITH events AS (
		  DELETE FROM client_events WHERE ctid = ANY (ARRAY(SELECT ctid FROM client_events WHERE at < ? ORDER BY at LIMIT ? FOR UPDATE SKIP LOCKED))
		  RETURNING 1
		), presence AS (
		  DELETE FROM engagement_presence WHERE ctid = ANY (ARRAY(SELECT ctid FROM engagement_presence WHERE day < ?::date ORDER BY day LIMIT ? FOR UPDATE SKIP LOCKED))
		  RETURNING 1
		), erased AS (
		  DELETE FROM erased_viewers WHERE at < clock_timestamp() - `+erasedLately+`
		)
		SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM presence)`, before.UTC(), limit, before.UTC().Format(time.DateOnly), limit)
	return forgotten, translate("forget marks", err)
}

// countsQuery sums facts of two tables at one moment. What is counted up to a moment needs all days before the period
// too; anything else does not. %s is what the grouping needs: the key of a row, and which rows have one.
func countsQuery(by engagement.Grouping) (statement string, kinds []engagement.Kind) {
	key, which := `day::text`, `channel = ''`
	kinds = append(append(kinds, engagement.Flows...), engagement.Stocks...)
	switch by {
	case engagement.ByDay:
		which += ` AND day >= period.first`
	case engagement.ByCampaign, engagement.ByCategory:
		key, which = string(by), `day >= period.first`
		kinds = []engagement.Kind{engagement.MessageSeen, engagement.MessageClicked, engagement.LinkConverted}
	case engagement.ByChannel:
		key, which = `channel`, `channel <> ''`
		kinds = []engagement.Kind{engagement.PushOn, engagement.PushIn, engagement.PushOut}
	}
	return `WITH period AS (
		  SELECT ?::date AS first, ?::date AS last
		), facts AS (
		  SELECT f.* FROM period, engagement_days f WHERE f.kind IN (SELECT jsonb_array_elements_text(?::jsonb)) AND f.day <= period.last
		  UNION ALL
		  SELECT f.day, f.kind, f.campaign, f.category, f.channel, f.count FROM period, engagement_facts f WHERE f.day <= period.last
		), wanted AS (
		  SELECT f.*, f.day < period.first AS before FROM period, facts f
		  WHERE f.day >= period.first OR f.kind IN (SELECT jsonb_array_elements_text(?::jsonb))
		)
		SELECT 'total', '', before, kind, sum(count)::bigint FROM wanted WHERE channel = '' GROUP BY before, kind
		UNION ALL
		SELECT 'group', ` + key + `, before, kind, sum(count)::bigint FROM period, wanted
		WHERE kind IN (SELECT jsonb_array_elements_text(?::jsonb)) AND ` + which + ` GROUP BY 2, before, kind`, kinds
}

// EngagementCounts implements ports.EngagementStore. A single statement sees a single moment.
func (db *DB) EngagementCounts(ctx context.Context, q ports.EngagementQuery) (ports.EngagementCounts, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	statement, kinds := countsQuery(q.By)
	out := ports.EngagementCounts{Total: newPeriod(), Groups: map[string]engagement.Period{}}
	err := query(tx, func(rows *sql.Rows) error {
		var of, key, kind string
		var before bool
		var n int64
		if err := rows.Scan(&of, &key, &before, &kind, &n); err != nil {
			return err
		}
		p := out.Total
		if of == "group" {
			var known bool
			if p, known = out.Groups[key]; !known {
				p = newPeriod()
				out.Groups[key] = p
			}
		}
		if before {
			p.Before[engagement.Kind(kind)] += n
		} else {
			p.Within[engagement.Kind(kind)] += n
		}
		return nil
	}, statement, q.From.UTC().Format(time.DateOnly), q.To.UTC().Format(time.DateOnly),
		kindList(engagement.Flows, engagement.Stocks), kindList(engagement.Stocks), kindList(kinds))
	return out, translate("read engagement", err)
}

func newPeriod() engagement.Period {
	return engagement.Period{Before: engagement.Counts{}, Within: engagement.Counts{}}
}

// kindList is a JSON array; constants always encode.
func kindList(lists ...[]engagement.Kind) string {
	var all []engagement.Kind
	for _, l := range lists {
		all = append(all, l...)
	}
	b, _ := json.Marshal(all)
	return string(b)
}
