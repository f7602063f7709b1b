package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"gorm.io/gorm"
)

// attempts bounds how often a transaction is tried.
const attempts = 4

// errNothing ends a transaction that has nothing to store.
var errNothing = errors.New("nothing to store")

// inTx runs fn in a transaction, again when the server undid it or the connection was lost before the commit. A
// connection lost during the commit is not tried again, as it may have taken effect.
func (db *DB) inTx(ctx context.Context, fn func(*gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	for n := 1; ; n++ {
		committing, err := db.tryTx(ctx, fn)
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
	return true, tx.Commit().Error
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

// writes collects statements that do not depend on each other's effects and runs them as one, in one round trip.
type writes struct {
	parts []string
	args  []any
	rows  int64 // that the counted parts must touch together
	sum   []string
}

// one adds a statement that must touch exactly one row.
func (w *writes) one(statement string, args ...any) {
	w.sum = append(w.sum, fmt.Sprintf("(SELECT count(*) FROM w%d)", len(w.parts)))
	w.rows++
	w.any(statement+" RETURNING 1", args...)
}

// any adds a statement that may touch any number of rows.
func (w *writes) any(statement string, args ...any) {
	w.parts = append(w.parts, fmt.Sprintf("w%d AS (%s)", len(w.parts), statement))
	w.args = append(w.args, args...)
}

func (w *writes) run(tx *gorm.DB) error {
	if len(w.parts) == 0 {
		return nil
	}
	var touched int64
	statement := "WITH " + strings.Join(w.parts, ", ") + " SELECT " + strings.Join(append(w.sum, "0"), " + ")
	if _, err := queryOne(tx, []any{&touched}, statement, w.args...); err != nil {
		return err
	}
	if touched != w.rows {
		return fmt.Errorf("stored %d rows instead of %d", touched, w.rows)
	}
	return nil
}
