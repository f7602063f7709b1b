package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxBody bounds the body of a call.
const maxBody = 4 << 20

// Sandbox is an http.Handler that emulates the vendors. Its methods are safe for concurrent use.
type Sandbox struct {
	cfg      Config
	mux      *http.ServeMux
	faults   *faultBook
	requests *requestLog
	limits   *limiter

	closing sync.Once
	closed  chan struct{}

	mu      sync.Mutex // guards what follows; never held while waiting
	state   *state
	journal *journal
}

// New opens the sandbox, with the state it had when it was last used. It reports every problem of the configuration at
// once, and fails when another process uses the same StatePath or its content is damaged.
func New(cfg Config) (*Sandbox, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	journal, st, err := openJournal(cfg.StatePath)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s := &Sandbox{
		cfg: cfg.withDefaults(), mux: http.NewServeMux(), faults: &faultBook{}, limits: newLimiter(),
		closed: make(chan struct{}), state: st, journal: journal,
	}
	s.requests = newRequestLog(s.cfg.RequestLogSize)
	for _, v := range []*vendor{braze(), oneSignal(), oneTrust(), engagement(), iterable()} {
		s.mount(v)
	}
	s.mountControl()
	return s, nil
}

// ServeHTTP answers vendor and control calls. A drop_after fault panics with http.ErrAbortHandler, which a
// net/http server turns into a connection cut without an answer.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close lets go every held call and closes the state file. Calls that come later are refused. Repeating it is harmless.
func (s *Sandbox) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.closed)
		s.mu.Lock()
		defer s.mu.Unlock()
		err = s.journal.close()
	})
	return err
}

func (s *Sandbox) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// vendor is one emulated API.
type vendor struct {
	target    string
	prefix    string
	endpoints []endpoint
	// fail shapes an error the way the vendor does.
	fail func(status int, message string) reply
	// decorate adds the headers the vendor sends with every answer; nil for none.
	decorate func(s *Sandbox, e endpoint, out reply) reply
}

// endpoint is one call of a vendor's API.
type endpoint struct {
	pattern string // "POST /users/track", below the vendor's prefix
	class   string // read, write or auth
	limited string // name of its rate limit, for decorate
	// customers works out whom a call is about, before anything happened.
	customers func(s *Sandbox, c *call) []string
	// guards refuse a call before it reaches handle: credentials, rate limits.
	guards []func(s *Sandbox, c *call) *reply
	handle func(s *Sandbox, c *call) reply
}

func (s *Sandbox) mount(v *vendor) {
	for _, e := range v.endpoints {
		method, path, _ := strings.Cut(e.pattern, " ")
		s.mux.HandleFunc(method+" "+v.prefix+path, func(w http.ResponseWriter, r *http.Request) { s.serve(v, e, w, r) })
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		unknown := endpoint{class: callWrite, handle: func(*Sandbox, *call) reply {
			return v.fail(http.StatusNotFound, "Not found")
		}}
		if method == http.MethodGet {
			unknown.class = callRead
		}
		s.mux.HandleFunc(method+" "+v.prefix+"/", func(w http.ResponseWriter, r *http.Request) { s.serve(v, unknown, w, r) })
	}
}

// serve takes one vendor call through log, fault and effect.
func (s *Sandbox) serve(v *vendor, e endpoint, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		v.fail(http.StatusRequestEntityTooLarge, "Request body cannot be read").write(w)
		return
	}
	c := newCall(r, body)
	var customers []string
	if e.customers != nil {
		customers = distinct(e.customers(s, c))
	}
	entry := s.requests.begin(loggedRequest{
		At: s.cfg.Clock().UTC(), Target: v.target, Method: r.Method, Path: r.URL.Path, Call: e.class,
	}, customers)
	status := 0
	defer func() { s.requests.finish(entry, status, s.cfg.Clock().UTC()) }()

	f := s.faults.take(v.target, e.class, customers)
	if f != nil {
		s.requests.hit(entry, f.ID)
	}
	out := s.perform(r.Context(), v, e, c, f)
	if out.status == 0 { // cut the connection; the server closes it without a word
		panic(http.ErrAbortHandler)
	}
	if v.decorate != nil {
		out = v.decorate(s, e, out)
	}
	if f != nil && f.Kind == faultStatus {
		for name, value := range f.Headers {
			out = out.with(name, value)
		}
	}
	if r.Context().Err() == nil {
		status = out.status
	}
	s.cfg.Logger.Debug("vendor call", "target", v.target, "call", e.pattern, "status", out.status)
	out.write(w)
}

// perform does what the endpoint or the fault says. A reply without status means the connection is to be cut.
func (s *Sandbox) perform(ctx context.Context, v *vendor, e endpoint, c *call, f *fault) reply {
	if f == nil {
		return s.run(v, e, c)
	}
	pause := time.Duration(f.DelayMS) * time.Millisecond
	gatewayTimeout := func() reply { return v.fail(http.StatusGatewayTimeout, "Gateway timeout") }
	switch f.Kind {
	case faultDelay:
		// Not tied to the client: a slow vendor does its work also when nobody waits for it any more.
		s.hold(context.WithoutCancel(ctx), pause, f.released)
		return s.run(v, e, c)
	case faultTimeoutBefore:
		s.holdUntilGone(ctx, pause, f)
		return gatewayTimeout()
	case faultTimeoutAfter:
		s.run(v, e, c)
		s.holdUntilGone(ctx, pause, f)
		return gatewayTimeout()
	case faultDropAfter:
		s.run(v, e, c)
		return reply{}
	case faultStatus:
		return v.fail(f.Status, "Injected fault")
	case faultMalformed:
		s.run(v, e, c)
		return reply{status: http.StatusOK, body: brokenJSON{}}
	default:
		return s.run(v, e, c)
	}
}

func (s *Sandbox) run(v *vendor, e endpoint, c *call) reply {
	if s.isClosed() {
		return v.fail(http.StatusServiceUnavailable, "Service temporarily unavailable")
	}
	for _, guard := range e.guards {
		if refused := guard(s, c); refused != nil {
			return *refused
		}
	}
	return e.handle(s, c)
}

func (s *Sandbox) holdUntilGone(ctx context.Context, pause time.Duration, f *fault) {
	if pause == 0 {
		pause = s.cfg.MaxHold
	}
	s.hold(ctx, pause, f.released)
}

// hold waits for the time to pass, the context to end, the fault to be removed or the sandbox to close.
func (s *Sandbox) hold(ctx context.Context, pause time.Duration, released <-chan struct{}) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-released:
	case <-s.closed:
	}
}

// view lets read see the state as a vendor's read would now.
func (s *Sandbox) view(read func(st *state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.settle(s.now())
	read(s.state)
}

// update runs decide on the settled state, with a writer for the effects it decides on. One update is atomic.
func (s *Sandbox) update(decide func(tx *writer) reply) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &writer{s: s, st: s.state, now: s.now()}
	tx.st.settle(tx.now)
	return decide(tx)
}

// now does not run backwards, so that opening the journal comes to the same state. The caller holds the lock.
func (s *Sandbox) now() time.Time {
	now := s.cfg.Clock().UTC().Round(0)
	if now.Before(s.state.Latest) {
		return s.state.Latest
	}
	return now
}

// writer accepts effects within one update.
type writer struct {
	s   *Sandbox
	st  *state
	now time.Time
}

// sync makes an effect that is applied as soon as it is written.
func (tx *writer) sync(target string, keys []string, ch change) *effect {
	return &effect{Target: target, At: tx.now, Keys: keys, change: ch}
}

// async makes an effect that is applied after the configured delay.
func (tx *writer) async(target string, keys []string, ch change) *effect {
	return &effect{Target: target, At: tx.now, Due: tx.st.due(target, tx.now, tx.s.cfg.ApplyDelay), Keys: keys, change: ch}
}

// write journals the effects, then lets the state have them. On an error nothing has happened.
func (tx *writer) write(effects ...*effect) error {
	if tx.s.isClosed() {
		return errors.New("sandbox is closed")
	}
	if err := tx.s.journal.append(tx.st, effects...); err != nil {
		tx.s.cfg.Logger.Error("state cannot be written", "error", err)
		return err
	}
	for _, e := range effects {
		tx.st.accept(e)
	}
	return nil
}

// catchUp applies what waits for these people, as a synchronous call does before it looks.
func (tx *writer) catchUp(target string, keys ...string) error {
	if !tx.st.waits(target, keys) {
		return nil
	}
	return tx.write(tx.sync(target, keys, &catchUp{}))
}

// newID returns a random UUID (version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return formatID(b)
}

// derivedID returns a UUID that depends on its parts alone, for ids made while an effect is applied.
func derivedID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return formatID([16]byte(h.Sum(nil)[:16]))
}

func formatID(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// distinct drops "" and repeats, keeping the order.
func distinct(values []string) []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, v := range values {
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
