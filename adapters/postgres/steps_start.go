package postgres

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

// StartStep implements ports.Steps. The share lock on the operation makes a compensation that starts at the same moment
// wait, so that it sees this step and undoes it.
func (db *DB) StartStep(ctx context.Context, operation string, s ports.TargetStep) (stored ports.TargetStep, first bool, err error) {
	row, err := encodeStep(s)
	if err != nil {
		return ports.TargetStep{}, false, translate("start step", err)
	}
	step, err := db.starts.together(ctx, operation, row, db.readings.targets(operation), func(rows []startRow) (map[preference.Target]*ports.TargetStep, error) {
		return db.startSteps(ctx, operation, rows)
	})
	first = step != nil
	if err == nil && !first { // somebody was first, or it must not be
		var op preference.Operation
		op, step, err = db.readStep(ctx, operation, s.Target)
		if err == nil && op.Status != preference.Running && op.Status != preference.NeedsAttention {
			err = errNotRunning
		}
	}
	if err == nil && step == nil {
		err = errors.New("the step was neither stored nor found")
	}
	if err != nil {
		return ports.TargetStep{}, false, translate("start step", err)
	}
	return *step, first, nil
}

// startRow is a step as it is stored.
type startRow struct {
	step       ports.TargetStep
	assignment string
	moved      any
}

func encodeStep(s ports.TargetStep) (row startRow, err error) {
	row.step = s
	if row.assignment, err = encode(s.Assignment); err != nil {
		return row, err
	}
	if len(s.Moved) > 0 {
		row.moved, err = encode(s.Moved)
	}
	return row, err
}

// startSteps stores steps of one operation, and answers those that were the first.
func (db *DB) startSteps(ctx context.Context, operation string, rows []startRow) (map[preference.Target]*ports.TargetStep, error) {
	tx, cancel := db.session(ctx)
	defer cancel()
	var args []any
	for _, r := range rows {
		args = append(args, string(r.step.Target), string(r.step.State), r.assignment, r.moved, r.step.MaybeDone, r.step.Attempts)
	}
	first := map[preference.Target]*ports.TargetStep{}
	err := query(tx, func(rows *sql.Rows) error {
		var row stepRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		step, err := row.step()
		if err == nil && step != nil {
			first[step.Target] = step
		}
		return err
	}, `INSERT INTO operation_targets AS t
		(operation_id, target, state, assignment, moved, maybe_done, attempts, code, updated_at)
		SELECT o.id, s.target, s.state, s.assignment, s.moved, s.maybe_done, s.attempts, '', statement_timestamp()
		FROM operations o CROSS JOIN (VALUES `+strings.Repeat(`, (?::text, ?::text, ?::jsonb, ?::jsonb, ?::boolean, ?::integer)`, len(rows))[2:]+`)
		  AS s (target, state, assignment, moved, maybe_done, attempts)
		WHERE o.id = ? AND o.status IN ('running', 'needs_attention') FOR SHARE OF o
		ON CONFLICT (operation_id, target) DO UPDATE SET state = excluded.state, assignment = excluded.assignment,
		  moved = excluded.moved, maybe_done = t.maybe_done OR excluded.maybe_done, updated_at = excluded.updated_at
		  WHERE t.assignment IS NULL
		RETURNING `+stepColumns, append(args, operation)...)
	return first, err
}

// gatherFor is how long a step waits for those at the other targets to be stored with it. Targets that answer from a cache
// or from nearby tell what they hold within a fraction of that; next to the call to one that does not, it is nothing.
const gatherFor = time.Millisecond

// starts brings together the steps of one operation that start at the same moment: they share one statement, one commit, and
// one lock on the operation. Steps of different operations have nothing to do with each other, so none waits for another's lock.
type starts struct {
	mu   sync.Mutex
	open map[string]*gathered // by operation
}

type gathered struct {
	rows  []startRow
	full  chan struct{} // closed when all have come
	done  chan struct{} // closed when they are stored, or not
	first map[preference.Target]*ports.TargetStep
	err   error
}

// together stores a step with those that others bring within a moment, if more than one is expected. It answers the step when
// it was the first, nil when not.
func (k *starts) together(ctx context.Context, operation string, row startRow, expected int,
	store func([]startRow) (map[preference.Target]*ports.TargetStep, error)) (*ports.TargetStep, error) {
	alone := func() (*ports.TargetStep, error) {
		first, err := store([]startRow{row})
		return first[row.step.Target], err
	}
	if expected < 2 {
		return alone()
	}
	g, mine := k.join(operation, row, expected)
	switch {
	case g == nil:
		return alone()
	case mine:
		defer close(g.done)
		g.wait(ctx)
		g.first, g.err = store(k.close(operation, g))
		return g.first[row.step.Target], g.err
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if g.err != nil { // who has tried may have been cancelled, and that is nobody else's business
		return alone()
	}
	return g.first[row.step.Target], nil
}

// join adds a row to those that are brought together, and tells whether it is the caller who has to store them. nil when
// another attempt at the same target is among them.
func (k *starts) join(operation string, row startRow, expected int) (g *gathered, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g = k.open[operation]
	if g == nil {
		g, mine = &gathered{full: make(chan struct{}), done: make(chan struct{})}, true
		if k.open == nil {
			k.open = map[string]*gathered{}
		}
		k.open[operation] = g
	}
	if slices.ContainsFunc(g.rows, func(r startRow) bool { return r.step.Target == row.step.Target }) {
		return nil, false
	}
	if g.rows = append(g.rows, row); len(g.rows) == expected {
		delete(k.open, operation)
		close(g.full)
	}
	return g, mine
}

// close lets nobody join any more, and answers all who have.
func (k *starts) close(operation string, g *gathered) []startRow {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[operation] == g {
		delete(k.open, operation)
	}
	return g.rows
}

func (g *gathered) wait(ctx context.Context) {
	enough := time.NewTimer(gatherFor)
	defer enough.Stop()
	select {
	case <-g.full:
	case <-enough.C:
	case <-ctx.Done():
	}
}
