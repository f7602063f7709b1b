package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/ports"
)

var _ ports.Events = (*DB)(nil)

const (
	relayEvery = 50 * time.Millisecond
	// relayBatch is how many events are read at a time, and about how many ids before the first are taken into account
	// that may still be on their way.
	relayBatch = 1000
	// relayPatience is how long an id that was given to a transaction is asked for: longer than any transaction of ours
	// may take, and less than events are kept.
	relayPatience = 30 * time.Second
	// relayGaps bounds how many ids are asked for. More of them are missing only when something has gone very wrong.
	relayGaps = 4096
)

// Listen implements ports.Events. It has a connection of its own, and reads what has come every 50 ms: NOTIFY would
// make all commits queue, and this costs the same whatever is written. A server that has crashed has forgotten all
// events, and begins to count anew; as that ends the connection, it never goes unnoticed.
func (db *DB) Listen(ctx context.Context, each func([]ports.StreamEvent), missed func()) error {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	pause := first
	for ctx.Err() == nil {
		began := time.Now()
		err := db.listenOnce(ctx, each, missed)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > most {
			pause = first
		}
		db.log.Debug("relaying events was interrupted; connecting again", "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // a pause need not be unguessable
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, most)
	}
	return nil //nolint:nilerr // the end of ctx is the end of listening, and no failure
}

var errLate = errors.New("events may have been forgotten before they were read")

func (db *DB) listenOnce(ctx context.Context, each func([]ports.StreamEvent), missed func()) error {
	conf := db.conf.Copy()
	conf.RuntimeParams["application_name"] = "accord-events"
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	r := relay{}
	if err := r.begin(ctx, conn, time.Now()); err != nil {
		return err
	}
	missed() // before this moment nobody listened; what comes after it is told
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for {
		looked := time.Now()
		events, err := r.read(ctx, conn, looked)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			each(events)
		}
		if time.Since(looked) > relayPatience {
			return errLate
		}
		if len(events) >= relayBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// relay knows what was read. Ids are given out when an event is written and are seen when it is committed, which is not
// in the same order, and never when it is rolled back: what is missing is asked for until nobody can be about to commit it.
type relay struct {
	last    int64 // all up to here were read or are missing
	missing []gap // by id
	reads   int
}

type gap struct {
	id    int64
	since time.Time
}

// begin takes what there is for read. What is missing shortly before may be about to be committed.
func (r *relay) begin(ctx context.Context, conn *pgx.Conn, now time.Time) error {
	rows, err := conn.Query(ctx, `SELECT id FROM stream_events ORDER BY id DESC LIMIT $1`, relayBatch)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	// The sequence tells of ids that nobody has committed yet after the last that somebody has.
	if err := conn.QueryRow(ctx, `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM stream_events_id_seq`).Scan(&r.last); err != nil {
		return err
	}
	slices.Reverse(ids)
	from := max(1, r.last-relayBatch)
	for id := from; id <= r.last; id++ {
		if _, committed := slices.BinarySearch(ids, id); !committed {
			r.missing = append(r.missing, gap{id, now})
		}
	}
	return nil
}

// read answers what has been committed since, in the order of ids. Gaps that are not closed soon are asked for less
// often. now is when it is called.
func (r *relay) read(ctx context.Context, conn *pgx.Conn, now time.Time) (events []ports.StreamEvent, err error) {
	r.missing = slices.DeleteFunc(r.missing, func(g gap) bool { return now.Sub(g.since) > relayPatience })
	r.reads++
	var ask []int64
	for _, g := range r.missing {
		if r.reads%10 == 0 || now.Sub(g.since) < time.Second {
			ask = append(ask, g.id)
		}
	}
	rows, err := conn.Query(ctx, `(SELECT id, viewers, kind, data::text FROM stream_events WHERE id = ANY($1::bigint[]))
		UNION ALL (SELECT id, viewers, kind, data::text FROM stream_events WHERE id > $2 ORDER BY id LIMIT $3) ORDER BY id`, ask, r.last, relayBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e ports.StreamEvent
		var data string
		if err := rows.Scan(&e.ID, &e.Viewers, &e.Kind, &data); err != nil {
			return nil, err
		}
		e.Data = []byte(data)
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return events, r.note(events, now)
}

// note takes the events, which are in the order of their ids, for read.
func (r *relay) note(events []ports.StreamEvent, now time.Time) error {
	for _, e := range events {
		if e.ID <= r.last {
			r.missing = slices.DeleteFunc(r.missing, func(g gap) bool { return g.id == e.ID })
			continue
		}
		if e.ID-r.last-1+int64(len(r.missing)) > relayGaps {
			return errLate
		}
		for id := r.last + 1; id < e.ID; id++ {
			r.missing = append(r.missing, gap{id, now})
		}
		r.last = e.ID
	}
	return nil
}
