package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"accord/domain/fault"
)

var errUnavailable = fault.New(fault.Unavailable, "unavailable", "the store cannot be reached just now")

// errInDoubt is told instead where the connection was lost during a commit.
var errInDoubt = fault.New(fault.Unavailable, "outcome-unknown", "the store was lost while it took this; it may have been accepted, or not")

// outage is errUnavailable or errInDoubt with its cause, which is for logs only: callers hand out the fault's message.
type outage struct{ cause error }

func (o outage) Error() string { return "unavailable: " + o.cause.Error() }

func (o outage) Unwrap() []error {
	var committing commitError
	if errors.As(o.cause, &committing) {
		return []error{errInDoubt, o.cause}
	}
	return []error{errUnavailable, o.cause}
}

// commitError is what a commit has ended with. When the connection was lost with it, nobody knows whether it took effect:
// the server may get to it even later.
type commitError struct{ error }

func (c commitError) Unwrap() error { return c.error }

// callerError is an error of the function that a port's caller passed in. It goes back as it is.
type callerError struct{ error }

// translate makes the ports' vocabulary of what the database says.
func translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	var theirs callerError
	if errors.As(err, &theirs) {
		return theirs.error
	}
	if _, known := fault.As(err); known {
		return err
	}
	err = fmt.Errorf("postgres: %s: %w", doing, err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case lostConnection(err), refusedForNow(err):
		return outage{err}
	case state(err) == "22P05", state(err) == "22021": // a NUL character, which neither jsonb nor text can hold
		return fault.OnField("", "invalid_character", "must not contain NUL characters")
	}
	return err
}

func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// lostConnection reports that there is no connection, or none any more. Whether a commit on its way took effect is then
// unknown; anything before it did not.
func lostConnection(err error) bool {
	var dial *pgconn.ConnectError
	var network net.Error
	switch s := state(err); {
	case s == "57P01", s == "57P02", s == "57P03", s == "57P05", strings.HasPrefix(s, "08"):
		return true
	case s != "":
		return errors.As(err, &dial)
	}
	return errors.As(err, &dial) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// neverSent reports that the statement has not left this process.
func neverSent(err error) bool {
	var dial *pgconn.ConnectError
	return errors.As(err, &dial) || pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// refusedForNow reports that the server works and cannot do this now: time-outs of statements and locks, no resources
// left, a standby, contention that outlasted the retries.
func refusedForNow(err error) bool {
	s := state(err)
	return s == "57014" || s == "55P03" || s == "25006" || s == "25P03" || strings.HasPrefix(s, "53") || strings.HasPrefix(s, "58") || contended(err)
}

// contended reports that the server undid the transaction in favour of another one.
func contended(err error) bool { return state(err) == "40001" || state(err) == "40P01" }
