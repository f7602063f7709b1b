package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

var _ ports.Standings = (*DB)(nil)

// standingsOf reads each viewer by its keys alone. Of a customer's operations it looks at those accepted last, however
// many there are: they are applied in that order, so these are also the ones that were settled last.
var standingsOf = `SELECT statement_timestamp(), g.version, g.next_change <= statement_timestamp(), nullif(g.next_change, 'infinity'), a.n, coalesce(i.version, 0),
	coalesce(i.next_change <= statement_timestamp(), false), nullif(i.next_change, 'infinity'), coalesce(c.version, 0), coalesce(o.last_open, 0), o.of_interest
FROM inbox_globals g CROSS JOIN jsonb_to_recordset(?::jsonb) AS a (n integer, viewer text, customer text, since timestamptz)
LEFT JOIN inboxes i ON i.viewer = a.viewer
LEFT JOIN customers c ON c.id = a.customer
LEFT JOIN LATERAL (
  SELECT max(number) FILTER (WHERE is_open) AS last_open,
    json_agg(json_build_object('ID', id, 'Status', status) ORDER BY number) FILTER (WHERE a.since IS NOT NULL AND (is_open OR settled_at > a.since)) AS of_interest
  FROM (
    SELECT id, number, status, settled_at, status IN ` + openStatuses + ` AS is_open FROM operations
    WHERE customer_id = c.id ORDER BY number DESC LIMIT ` + strconv.Itoa(ports.MaxStandingOperations) + `
  ) latest
) o ON true`

// Standings implements ports.Standings.
func (db *DB) Standings(ctx context.Context, asked []ports.StandingQuery) (ports.GlobalStanding, []ports.Standing, error) {
	type question struct {
		N        int        `json:"n"`
		Viewer   string     `json:"viewer"`
		Customer string     `json:"customer,omitempty"`
		Since    *time.Time `json:"since,omitempty"`
	}
	questions := make([]question, len(asked))
	for i, a := range asked {
		questions[i] = question{N: i, Viewer: a.Viewer.Key(), Customer: string(a.Viewer.Customer)}
		if !a.Operations.IsZero() {
			questions[i].Since = &asked[i].Operations
		}
	}
	text, err := encode(questions)
	if err != nil {
		return ports.GlobalStanding{}, nil, err
	}
	var global ports.GlobalStanding
	out := make([]ports.Standing, len(asked))
	tx, cancel := db.session(ctx)
	defer cancel()
	err = query(tx, func(rows *sql.Rows) error {
		var n int
		var s ports.Standing
		var version, lastOpen int64
		var operations []byte
		var globalNext, next *time.Time
		if err := rows.Scan(&global.Now, &global.Version, &global.Due, &globalNext, &n, &s.Own, &s.Due, &next, &version, &lastOpen, &operations); err != nil {
			return err
		}
		global.Now, global.NextChange, s.NextChange = global.Now.UTC(), orZero(globalNext), orZero(next)
		if asked[n].Viewer.Customer != "" {
			s.Tag = preference.Tag(version, lastOpen)
		}
		if operations != nil {
			if err := json.Unmarshal(operations, &s.Operations); err != nil {
				return fmt.Errorf("decode operations: %w", err)
			}
		}
		out[n] = s
		return nil
	}, standingsOf, text)
	return global, out, translate("read where viewers stand", err)
}
