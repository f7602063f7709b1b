package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// onWire lends fn a connection of the pool past GORM and database/sql, which would box and convert each value, and cannot
// send several statements in one round trip. The connection comes back with no transaction open.
func (db *DB) onWire(ctx context.Context, doing string, fn func(context.Context, *pgx.Conn) error) error {
	begin := time.Now()
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // gives it back
	err = conn.Raw(func(driver any) error {
		c := driver.(*stdlib.Conn).Conn()
		defer func() {
			if c.PgConn().TxStatus() != 'I' && !c.IsClosed() {
				rollback(ctx, c)
			}
		}()
		return fn(ctx, c)
	})
	db.gorm.Logger.Trace(ctx, begin, func() (string, int64) { return doing, -1 }, err)
	return err
}

// rollback does what it can: a connection that stays in its transaction is thrown away by the pool.
func rollback(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_, _ = c.Exec(ctx, "rollback")
}

// eachRow hands the values of each row over as they came, valid until the next.
func eachRow(rows pgx.Rows, row func([][]byte) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.RawValues()); err != nil {
			return err
		}
	}
	return rows.Err()
}

var errShape = errors.New("a value has another shape than its type")

// values reads a row in the binary format, in the order of its columns. The first value that is not what it should be
// makes everything after it zero, and err says so.
type values struct {
	row [][]byte
	at  int
	err error
}

func (v *values) next(length int) []byte {
	if v.at >= len(v.row) {
		v.err = errShape
		return nil
	}
	b := v.row[v.at]
	v.at++
	if length >= 0 && b != nil && len(b) != length {
		v.err = fmt.Errorf("%w: column %d", errShape, v.at)
		return nil
	}
	return b
}

// int is 0 for NULL.
func (v *values) int() int64 {
	if b := v.next(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // that is how it is sent
	}
	return 0
}

// bool is false for NULL.
func (v *values) bool() bool {
	b := v.next(1)
	return b != nil && b[0] != 0
}

// epoch is from when the server counts.
const epoch = 946684800_000000 // 2000-01-01, in microseconds since 1970

// time is zero for NULL.
func (v *values) time() time.Time {
	b := v.next(8)
	if b == nil {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + epoch).UTC() //nolint:gosec // that is how it is sent
}

// lent is valid until the next row, nil for NULL.
func (v *values) lent() []byte { return v.next(-1) }

// list reads a one-dimensional array without NULLs; each gets its elements. present is false for NULL.
func (v *values) list(size func(n int), each func([]byte)) (present bool) {
	b := v.next(-1)
	if b == nil {
		return false
	}
	bad := func() bool {
		v.err = fmt.Errorf("%w: array in column %d", errShape, v.at)
		return false
	}
	const header, dimension = 12, 8
	if len(b) < header || binary.BigEndian.Uint32(b) > 1 || binary.BigEndian.Uint32(b[4:]) != 0 {
		return bad()
	}
	if binary.BigEndian.Uint32(b) == 0 {
		size(0)
		return true
	}
	if len(b) < header+dimension {
		return bad()
	}
	n := int(binary.BigEndian.Uint32(b[header:]))
	if b = b[header+dimension:]; n > len(b)/4 {
		return bad()
	}
	size(n)
	for range n {
		if len(b) < 4 {
			return bad()
		}
		length := int(int32(binary.BigEndian.Uint32(b))) //nolint:gosec // that is how it is sent
		if b = b[4:]; length < 0 || length > len(b) {
			return bad()
		}
		each(b[:length])
		b = b[length:]
	}
	return true
}

// ints reads an array of bigint into the places given, as many as there are.
func (v *values) ints(into ...*int64) (present bool) {
	i := 0
	return v.list(func(n int) {
		if n != len(into) {
			v.err = errShape
		}
	}, func(b []byte) {
		if i < len(into) && len(b) == 8 {
			*into[i] = int64(binary.BigEndian.Uint64(b)) //nolint:gosec // that is how it is sent
		}
		i++
	})
}
