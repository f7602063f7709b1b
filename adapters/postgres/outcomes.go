package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"accord/domain/preference"
)

const (
	outcomeChannel = "accord_outcome"
	// pollEvery is what a lost notification costs at most.
	pollEvery = 250 * time.Millisecond
	// maxSaid bounds how many outcomes wait to be told to other processes.
	maxSaid = 1024
)

// Watch implements ports.Outcomes. Call it before looking. After Close, done is closed at once.
func (db *DB) Watch(operation string) (done <-chan preference.Operation, stop func()) {
	return db.outcomes.watch(operation)
}

// Announce implements ports.Outcomes. Watchers in this process know when it returns. Only where there is none are the other
// processes told: whoever asked for the change waits in one place, and who has asked for it again meanwhile in another one
// finds out by looking. They are told beside it, many outcomes at once when there are many, and never in the transaction that
// is told about: NOTIFY takes a lock on the whole database while its transaction commits, and commits of all customers would
// queue for it.
func (db *DB) Announce(_ context.Context, op preference.Operation) {
	if !db.outcomes.wake(op.ID, &op) {
		db.outcomes.announce(op.ID)
	}
}

// notify tells every process that listens.
func (db *DB) notify(ctx context.Context, ids []string) error {
	said, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	tx, cancel := db.session(ctx)
	defer cancel()
	return query(tx, func(*sql.Rows) error { return nil },
		`SELECT pg_notify(?, id) FROM jsonb_array_elements_text(?::jsonb) id`, outcomeChannel, string(said))
}

// settledOf tells which of the operations have settled or were parked.
func (db *DB) settledOf(ctx context.Context, ids []string) (out []string, err error) {
	asked, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	err = query(db.gorm.WithContext(ctx), func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	}, `SELECT id FROM operations WHERE id IN (SELECT jsonb_array_elements_text(?::jsonb))
		AND status IN ('applied', 'compensated', 'needs_attention')`, string(asked))
	return out, err
}

// outcomes wakes watchers: at once by LISTEN, and by looking every pollEvery in case a notification was lost. Both
// start with the first watcher, and telling with the first outcome, so a process pays only for what it does.
type outcomes struct {
	conf    *pgx.ConnConfig
	settled func(context.Context, []string) ([]string, error)
	notify  func(context.Context, []string) error
	log     *slog.Logger
	said    chan string // outcomes that other processes are still to be told
	tells   sync.Once

	mu       sync.Mutex
	watchers map[string]map[chan preference.Operation]struct{}
	started  bool
	closed   bool
	look     chan struct{} // asks for a poll before its time

	ctx  context.Context
	end  context.CancelFunc
	done sync.WaitGroup
}

func newOutcomes(conf *pgx.ConnConfig, db *DB, log *slog.Logger) *outcomes {
	conf = conf.Copy()
	conf.RuntimeParams["application_name"] = "accord-outcomes"
	o := &outcomes{conf: conf, settled: db.settledOf, notify: db.notify, log: log, said: make(chan string, maxSaid),
		watchers: map[string]map[chan preference.Operation]struct{}{}, look: make(chan struct{}, 1)}
	o.ctx, o.end = context.WithCancel(context.Background())
	return o
}

func (o *outcomes) watch(operation string) (<-chan preference.Operation, func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	done := make(chan preference.Operation, 1)
	if o.closed {
		close(done)
		return done, func() {}
	}
	if !o.started {
		o.started = true
		o.done.Go(o.listen)
		o.done.Go(o.poll)
	}
	if o.watchers[operation] == nil {
		o.watchers[operation] = map[chan preference.Operation]struct{}{}
	}
	o.watchers[operation][done] = struct{}{}
	return done, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.watchers[operation], done)
		if len(o.watchers[operation]) == 0 {
			delete(o.watchers, operation)
		}
	}
}

// wake tells everyone who watches the operation, and hands it over where it is known. It answers whether there was anybody.
func (o *outcomes) wake(operation string, op *preference.Operation) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	watched := len(o.watchers[operation]) > 0
	for done := range o.watchers[operation] {
		if op != nil {
			done <- *op // there is room for one, and nothing else is ever sent
		}
		close(done)
	}
	delete(o.watchers, operation)
	return watched
}

func (o *outcomes) watched() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make([]string, 0, len(o.watchers))
	for id := range o.watchers {
		ids = append(ids, id)
	}
	return ids
}

func (o *outcomes) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.end()
	o.done.Wait()
	for _, id := range o.watched() {
		o.wake(id, nil)
	}
}

// announce hands the outcome over to be told.
func (o *outcomes) announce(operation string) {
	o.mu.Lock()
	if !o.closed {
		o.tells.Do(func() { o.done.Go(o.tell) })
	}
	o.mu.Unlock()
	select {
	case o.said <- operation:
	default: // so many wait that who watches finds out sooner by looking
	}
}

// tell takes all that is there at a time.
func (o *outcomes) tell() {
	for {
		var ids []string
		select {
		case <-o.ctx.Done():
			return
		case id := <-o.said:
			ids = append(ids, id)
		}
		for more := true; more && len(ids) < maxSaid; {
			select {
			case id := <-o.said:
				ids = append(ids, id)
			default:
				more = false
			}
		}
		if err := o.notify(o.ctx, ids); err != nil && o.ctx.Err() == nil {
			o.log.Debug("outcomes were not announced; who watches finds out by looking", "outcomes", len(ids), "error", err)
		}
	}
}

// poll looks, with one query for everything watched.
func (o *outcomes) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-tick.C:
		case <-o.look:
		}
		ids := o.watched()
		if len(ids) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(o.ctx, 5*time.Second)
		settled, err := o.settled(ctx, ids)
		cancel()
		if err != nil && o.ctx.Err() == nil {
			o.log.Debug("looking for outcomes failed; trying again", "error", err)
		}
		for _, id := range settled {
			o.wake(id, nil)
		}
	}
}

// listen keeps one connection that waits for notifications, connecting again when it breaks.
func (o *outcomes) listen() {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	pause := first
	for o.ctx.Err() == nil {
		began := time.Now()
		err := o.listenOnce()
		if o.ctx.Err() != nil {
			return
		}
		if time.Since(began) > most {
			pause = first
		}
		o.log.Debug("listening for outcomes was interrupted; connecting again", "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // a pause need not be unguessable
		select {
		case <-timer.C:
		case <-o.ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, most)
	}
}

func (o *outcomes) listenOnce() error {
	conn, err := pgx.ConnectConfig(o.ctx, o.conf)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(o.ctx, "LISTEN "+outcomeChannel); err != nil {
		return err
	}
	select { // what was said while nobody listened
	case o.look <- struct{}{}:
	default:
	}
	for {
		n, err := conn.WaitForNotification(o.ctx)
		if err != nil {
			return err
		}
		o.wake(n.Payload, nil)
	}
}
