package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// attempts bounds how often a transaction is tried.
const attempts = 4

// errNothing ends a transaction that has nothing to store.
var errNothing = errors.New("nothing to store")

// inTx runs fn in a transaction, again when that makes sense.
func (db *DB) inTx(ctx context.Context, fn func(*gorm.DB) error) error {
	return db.again(ctx, func(ctx context.Context) (committing bool, err error) { return db.tryTx(ctx, fn) })
}

// again tries until the server neither undid it nor the connection was lost before the commit. A connection lost during
// the commit is not tried again, as it may have taken effect.
func (db *DB) again(ctx context.Context, try func(context.Context) (committing bool, err error)) error {
	return db.againWithin(ctx, db.timeout, try)
}

func (db *DB) againWithin(ctx context.Context, limit time.Duration, try func(context.Context) (committing bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for n := 1; ; n++ {
		committing, err := try(ctx)
		db.health.heard(err)
		var theirs callerError
		switch {
		case errors.Is(err, errNothing):
			return nil
		case err == nil, n == attempts, ctx.Err() != nil, errors.As(err, &theirs):
			return err
		case !contended(err) && (committing || !lostConnection(err)):
			return err
		}
		// A little apart, or two that met once meet again.
		pause := time.NewTimer(time.Duration(n)*5*time.Millisecond + rand.N(10*time.Millisecond)) //nolint:gosec // a pause need not be unguessable
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}

func (db *DB) tryTx(ctx context.Context, fn func(*gorm.DB) error) (committing bool, err error) {
	tx := db.gorm.WithContext(ctx).Begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if tx.Error != nil {
		return false, tx.Error
	}
	done := false
	defer func() {
		if !done { // fn failed or panicked; what the rollback says adds nothing
			tx.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return false, err
	}
	done = true
	if err := tx.Commit().Error; err != nil {
		return true, commitError{err}
	}
	return true, nil
}

// query runs a statement and hands each row to scan.
func query(tx *gorm.DB, scan func(*sql.Rows) error, statement string, args ...any) error {
	for i, arg := range args {
		if b, is := arg.([]byte); is {
			args[i] = blob(b)
		}
	}
	rows, err := tx.Raw(statement, args...).Rows()
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err below has what it would say
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// blob keeps gorm from taking bytes after a parenthesis for a list of numbers.
type blob []byte

func (b blob) Value() (driver.Value, error) { return []byte(b), nil }

// queryOne is query for at most one row.
func queryOne(tx *gorm.DB, dest []any, statement string, args ...any) (found bool, err error) {
	err = query(tx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(dest...)
	}, statement, args...)
	return found, err
}

// writes collects statements that do not depend on each other's effects, to be run as one, in one round trip.
type writes []write

type write struct {
	statement string
	args      []any
}

// one adds a statement that must touch exactly one row.
func (w *writes) one(statement string, args ...any) {
	*w = append(*w, write{statement + " RETURNING 1", args})
}

// maxWrites bounds one combined statement.
const maxWrites = 60

// run needs a transaction around it, as it finds out last that not all is as it should be.
func (w writes) run(tx *gorm.DB) error {
	for part := range slices.Chunk(w, maxWrites) {
		with, touched, args := part.combined()
		var rows int64
		if _, err := queryOne(tx, []any{&rows}, with+" SELECT "+touched, args...); err != nil {
			return err
		}
		if want := int64(len(part)); rows != want {
			return fmt.Errorf("stored %d rows instead of %d", rows, want)
		}
	}
	return nil
}

// runAlone is run without a transaction: one statement, which the server refuses with a division by zero when anything
// is not as it should be, and then nothing of it has happened. ok is false then, and when there is too much for one
// statement. Without an answer nobody knows whether it took effect. The rows that it has written have the version, as `xmin` shows it.
func (w writes) runAlone(tx *gorm.DB) (version string, ok bool, err error) {
	if len(w) > maxWrites {
		return "", false, nil
	}
	with, touched, args := w.combined()
	var done int64
	_, err = queryOne(tx, []any{&done, &version},
		fmt.Sprintf("%s SELECT 1 / (CASE WHEN %s = %d THEN 1 ELSE 0 END), pg_current_xact_id()::xid::text", with, touched, len(w)), args...)
	switch state(err) {
	case "22012", "23505": // division by zero; or what somebody else has added meanwhile is in the way
		return "", false, nil
	}
	if lostConnection(err) && !neverSent(err) { // the statement is its own commit
		err = commitError{err}
	}
	return version, err == nil, err
}

// combined makes one statement of all, and an expression for how many rows they have touched. The
// server evaluates that from left to right, so the statements take their locks in the order in which they were added.
func (w writes) combined() (with, touched string, args []any) {
	parts, sum := make([]string, len(w)), make([]string, len(w))
	for i, one := range w {
		parts[i] = fmt.Sprintf("w%d AS (%s)", i, one.statement)
		sum[i] = fmt.Sprintf("(SELECT count(*) FROM w%d)", i)
		args = append(args, one.args...)
	}
	return "WITH " + strings.Join(parts, ", "), strings.Join(sum, " + "), args
}
