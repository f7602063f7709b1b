package postgres

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"accord/domain/fault"
	"accord/domain/inbox"
)

// catalogue is the link catalogue as of the version of the globals with which somebody last changed it.
type catalogue struct {
	version int64
	links   *inbox.Links
}

// linkCache keeps the last catalogue that was read, for those who know what its version must be.
type linkCache struct{ last atomic.Pointer[catalogue] }

// at answers the catalogue of a version that q has seen, or of a later one.
func (c *linkCache) at(ctx context.Context, q querier, version int64) (*catalogue, error) {
	if known := c.last.Load(); known != nil && known.version == version {
		return known, nil
	}
	read, err := readCatalogue(ctx, q)
	if err == nil {
		c.last.Store(read)
	}
	return read, err
}

const targetColumns = `t.key, t.pattern, t.active, t.active_from, t.active_until, t.pattern_at, t.updated_at`

type targetRow struct {
	key, pattern                    pgtype.Text
	active                          pgtype.Bool
	from, until, patterned, updated pgtype.Timestamptz
}

func (r *targetRow) dest() []any {
	return []any{&r.key, &r.pattern, &r.active, &r.from, &r.until, &r.patterned, &r.updated}
}

func (r *targetRow) target() (inbox.LinkTarget, error) {
	p, err := inbox.ParsePattern(r.pattern.String)
	t := inbox.LinkTarget{Key: inbox.TargetKey(r.key.String), Pattern: p, Active: r.active.Bool,
		PatternAt: r.patterned.Time.UTC(), UpdatedAt: r.updated.Time.UTC()}
	if r.from.Valid {
		t.From = r.from.Time.UTC()
	}
	if r.until.Valid {
		t.Until = r.until.Time.UTC()
	}
	return t, err
}

// readCatalogue reads version and targets in one statement, which sees one moment.
func readCatalogue(ctx context.Context, q querier) (*catalogue, error) {
	rows, err := q.Query(ctx, `SELECT g.catalogue, `+targetColumns+` FROM inbox_globals g LEFT JOIN deeplink_targets t ON true`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var c catalogue
	var targets []inbox.LinkTarget
	for rows.Next() {
		var row targetRow
		if err := rows.Scan(append([]any{&c.version}, row.dest()...)...); err != nil {
			return nil, err
		}
		if !row.key.Valid {
			continue
		}
		t, err := row.target()
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	c.links = inbox.NewLinks(targets...)
	return &c, rows.Err()
}

// Targets implements ports.MessageStore.
func (db *DB) Targets(ctx context.Context) (targets []inbox.LinkTarget, err error) {
	err = db.wireRead(ctx, "read link targets", func(ctx context.Context, conn *pgx.Conn) error {
		c, err := readCatalogue(ctx, conn)
		if err == nil {
			targets = c.links.All()
		}
		return err
	})
	return targets, translate("read link targets", err)
}

// PutTarget implements ports.MessageStore. One that is there already as it is asked for stays untouched.
func (db *DB) PutTarget(ctx context.Context, t inbox.LinkTarget) (stored inbox.LinkTarget, created bool, err error) {
	err = db.wireTx(ctx, "put a link target", func(ctx context.Context, tx pgx.Tx) error {
		known, err := lockTargets(ctx, tx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(known, func(k inbox.LinkTarget) bool { return k.Key == t.Key })
		created, stored = at < 0, t
		if at >= 0 && sameTarget(known[at], t) {
			stored = known[at]
			return nil
		}
		concerned := related(t.Key, known, append(without(known, t.Key), t))
		return tx.QueryRow(ctx, `WITH g AS (
			  UPDATE inbox_globals SET version = version + 1, catalogue = version + 1, next_change = LEAST(next_change,
			    CASE WHEN $3 AND $4 > statement_timestamp() THEN $4 END, CASE WHEN $3 AND $5 > statement_timestamp() THEN $5 END)
			  RETURNING version),
			put AS (
			  INSERT INTO deeplink_targets AS t (key, pattern, active, active_from, active_until, pattern_at, updated_at, catalogue)
			  SELECT $1, $2, $3::boolean, $4::timestamptz, $5::timestamptz, statement_timestamp(), statement_timestamp(), version FROM g
			  ON CONFLICT (key) DO UPDATE SET pattern = excluded.pattern, active = excluded.active, active_from = excluded.active_from,
			    active_until = excluded.active_until, updated_at = excluded.updated_at, catalogue = excluded.catalogue,
			    pattern_at = CASE WHEN t.pattern = excluded.pattern THEN t.pattern_at ELSE excluded.pattern_at END
			  RETURNING t.pattern_at, t.updated_at),
			others AS (UPDATE deeplink_targets SET catalogue = g.version FROM g WHERE key <> $1),
			change AS (`+changeOfTargets("$6")+`), word AS (`+wordOfGlobals("g")+`)
			SELECT pattern_at, updated_at FROM put`, string(t.Key), t.Pattern.String(), t.Active, timeOrNull(t.From), timeOrNull(t.Until), concerned).
			Scan(&stored.PatternAt, &stored.UpdatedAt)
	})
	stored.PatternAt, stored.UpdatedAt = stored.PatternAt.UTC(), stored.UpdatedAt.UTC()
	return stored, created, translate("put a link target", err)
}

// DeleteTarget implements ports.MessageStore.
func (db *DB) DeleteTarget(ctx context.Context, key inbox.TargetKey) error {
	err := db.wireTx(ctx, "delete a link target", func(ctx context.Context, tx pgx.Tx) error {
		known, err := lockTargets(ctx, tx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(known, func(t inbox.LinkTarget) bool { return t.Key == key }) {
			return errNoTarget
		}
		_, err = tx.Exec(ctx, `WITH g AS (UPDATE inbox_globals SET version = version + 1, catalogue = version + 1 RETURNING version),
			gone AS (DELETE FROM deeplink_targets WHERE key = $1),
			others AS (UPDATE deeplink_targets SET catalogue = g.version FROM g WHERE key <> $1),
			change AS (`+changeOfTargets("$2")+`), word AS (`+wordOfGlobals("g")+`)
			SELECT`, string(key), related(key, known, without(known, key)))
		return err
	})
	return translate("delete a link target", err)
}

var errNoTarget = fault.New(fault.NotFound, "not-found", "there is no such link target")

// changeOfTargets is the part of a statement that says which targets are different with the version in the part g.
func changeOfTargets(keys string) string {
	return `INSERT INTO inbox_global_changes (version, kind, target, at)
	SELECT version, 'target', unnest(` + keys + `::text[]), statement_timestamp() FROM g`
}

// related are all targets whose links may lead elsewhere when the target becomes another one, comes or goes: who reads
// the changes later does not know any more what it was before.
func related(key inbox.TargetKey, before, after []inbox.LinkTarget) []string {
	var keys []string
	for _, catalogue := range [][]inbox.LinkTarget{before, after} {
		for _, k := range inbox.NewLinks(catalogue...).Related(key) {
			keys = append(keys, string(k))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func without(targets []inbox.LinkTarget, key inbox.TargetKey) []inbox.LinkTarget {
	return slices.DeleteFunc(slices.Clone(targets), func(t inbox.LinkTarget) bool { return t.Key == key })
}

// lockTargets keeps others from changing the catalogue (readers and those who lock rows for sharing are not concerned),
// waits for whoever is publishing with a link to any of the targets, and reads them. The statements after it see all
// that was committed before.
func lockTargets(ctx context.Context, tx pgx.Tx) (targets []inbox.LinkTarget, err error) {
	if _, err := tx.Exec(ctx, `LOCK TABLE deeplink_targets IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT `+targetColumns+` FROM deeplink_targets t ORDER BY key FOR UPDATE`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var row targetRow
		if err := rows.Scan(row.dest()...); err != nil {
			return nil, err
		}
		t, err := row.target()
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, rows.Err()
}

// sameTarget compares what somebody can ask for, in the precision that is kept.
func sameTarget(a, b inbox.LinkTarget) bool {
	equal := func(a, b time.Time) bool { return a.Truncate(time.Microsecond).Equal(b.Truncate(time.Microsecond)) }
	return a.Pattern.String() == b.Pattern.String() && a.Active == b.Active && equal(a.From, b.From) && equal(a.Until, b.Until)
}

// errStale says that the catalogue has changed since it was read.
var errStale = errors.New("the link catalogue has changed")
