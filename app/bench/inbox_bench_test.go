package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"accord/adapters/devstack"
	"accord/domain/inbox"
	"accord/domain/preference"
)

// inboxSizes are numbers of customers with a hundred messages each.
var inboxSizes = flag.String("inbox.customers", "100,10000,100000", "numbers of customers (a hundred messages each) to measure the inbox with")

// readers is how many of the customers read: each has a token and comes again, as people do who open an app.
const readers = 2_000

// BenchmarkInbox holds reading and writing an inbox against a bare Gin handler with one keyset query for the same rows,
// against Gin answering constant bytes of the same length, and against the database's own rate of commits. Every size is
// a database of its own; the table of cost against size comes from all of them, the others from the largest.
func BenchmarkInbox(b *testing.B) {
	dir := b.TempDir()
	server, err := devstack.StartPostgres(b.Context(), devstack.PostgresOptions{DataDir: dir, Durable: true,
		Settings: []string{"shared_buffers=4GB", "max_wal_size=6GB", "checkpoint_timeout=30min", "effective_io_concurrency=16"}})
	require.NoError(b, err)
	stop(b, "Postgres", func(ctx context.Context) error { return errors.Join(server.Stop(ctx), devstack.RemovePostgres(dir)) })
	pg := cluster{server}
	b.ReportMetric(0, "ns/op")
	var costs []sizeCost
	sizes := strings.Split(*inboxSizes, ",")
	for i, text := range sizes {
		customers, err := strconv.Atoi(text)
		require.NoError(b, err)
		r := newInboxRig(b, pg, "inbox"+text, customers)
		costs = append(costs, r.cost(b))
		if i == len(sizes)-1 {
			r.compareReads(b)
			r.compareWrites(b)
		}
	}
	printCosts(b, costs)
}

// inboxRig is a seeded database, an API over it, and clients.
type inboxRig struct {
	data    *seeded
	api     *accord
	watched processes
	lines   *wire
	bare    *wire
	// bareHandler is what bare talks to.
	bareHandler http.Handler
	pool        *pgxpool.Pool
	tokens      []string // of the readers
	names       []string
	deep        string // token of the customer with a thousand pages
	body        []byte // a first page
	etags       []string
	next        atomic.Int64
}

func newInboxRig(b *testing.B, pg cluster, name string, customers int) *inboxRig {
	b.Helper()
	cfg := configured(b, pg.database(b, name), freeAddr(b)) // nothing that is measured here needs Temporal
	r := &inboxRig{watched: processes{postgres: pg.server.PID()}, api: startAccord(b, cfg, nil, nil)}
	r.linkTarget(b)
	r.data = seed(b, cfg.DatabaseURL.Reveal(), customers, r.api.inbox)
	r.publishGlobals(b)
	r.sign(b)
	r.lines = newWire(b, strings.TrimPrefix(r.api.base, "http://"), 128)
	require.NoError(b, r.lines.do(b.Context(), r.get("/v1/inbox", r.tokens[0]), 200, func(a answer) { r.body = append([]byte(nil), a.body...) }))
	addr, bare := startBareFeed(b, r.data.url, cfg.DatabaseConns, r.body)
	r.bare, r.bareHandler = newWire(b, addr, 128), bare
	config, err := pgxpool.ParseConfig(r.data.url)
	require.NoError(b, err)
	config.MaxConns = int32(cfg.DatabaseConns)
	r.pool, err = pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(r.pool.Close)
	r.etags = make([]string, len(r.tokens))
	for i, token := range r.tokens {
		require.NoError(b, r.lines.do(b.Context(), r.get("/v1/inbox", token), 200, func(a answer) { r.etags[i] = a.etag }))
	}
	return r
}

func (r *inboxRig) linkTarget(b *testing.B) {
	b.Helper()
	pattern, err := inbox.ParsePattern("app://orders/{order_id}")
	require.NoError(b, err)
	_, _, err = r.api.inbox.PutTarget(b.Context(), inbox.LinkTarget{Key: "orders", Pattern: pattern, Active: true})
	require.NoError(b, err)
}

// publishGlobals fills in what everybody sees.
func (r *inboxRig) publishGlobals(b *testing.B) {
	b.Helper()
	for n := range globals {
		_, _, err := r.api.inbox.Publish(b.Context(), inbox.Draft{Source: "seed", ExternalID: "global/" + strconv.Itoa(n), Audience: inbox.Global,
			Content: inbox.Content{Text: inbox.Text{Title: "Offer " + strconv.Itoa(n), Body: strings.Repeat("Only for a short time. ", 4)}, Category: "offers", Link: "app://orders/1"}})
		require.NoError(b, err)
	}
}

func (r *inboxRig) sign(b *testing.B) {
	b.Helper()
	for i := range min(readers, r.data.customers) {
		name := "s" + strconv.Itoa(1+i*(r.data.customers/min(readers, r.data.customers)))
		token, _, err := r.api.issuer.Mint(name, "")
		require.NoError(b, err)
		r.names, r.tokens = append(r.names, name), append(r.tokens, token)
	}
	token, _, err := r.api.issuer.Mint(deepViewer, "")
	require.NoError(b, err)
	r.deep = token
}

func (r *inboxRig) get(path, token string, headers ...string) []byte {
	if token != "" {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	return request(http.MethodGet, path, "", headers...)
}

// anybody picks a reader by chance.
func (r *inboxRig) anybody() int { return rand.N(len(r.tokens)) }

// reading makes a contender of one call by readers picked by chance. Requests are made before.
func (r *inboxRig) reading(name, path string, want int, headers func(reader int) []string) contender {
	all := make([][]byte, len(r.tokens))
	for i, token := range r.tokens {
		var more []string
		if headers != nil {
			more = headers(i)
		}
		all[i] = r.get(path, token, more...)
	}
	return contender{name: name, op: func(ctx context.Context) error { return r.lines.do(ctx, all[r.anybody()], want, nil) },
		allocates: func(b *testing.B) float64 {
			return allocations(b, r.api.handler, want, func() []byte { return all[r.anybody()] })
		}}
}

func (r *inboxRig) one(name string, w *wire, bytes []byte, want int) contender {
	handler := r.api.handler
	if w == r.bare {
		handler = r.bareHandler
	}
	return contender{name: name, op: func(ctx context.Context) error { return w.do(ctx, bytes, want, nil) },
		allocates: func(b *testing.B) float64 { return allocations(b, handler, want, fixed(bytes)) }}
}

// deepPage is the cursor of the page in the middle of the customer with a thousand of them.
func (r *inboxRig) deepPage(b *testing.B, token, name string, offset int) string {
	b.Helper()
	var p inbox.Position
	err := r.pool.QueryRow(b.Context(), `SELECT i.published_at, i.message_id FROM inbox_items i JOIN inboxes b ON b.id = i.inbox_id
		WHERE b.viewer = $1 ORDER BY published_at DESC, message_id DESC LIMIT 1 OFFSET $2`, "c:"+name, offset).Scan(&p.Published, &p.ID)
	require.NoError(b, err)
	return inbox.Cursor(inbox.CustomerViewer(preference.CustomerID(name)), inbox.Filter{}, p)
}

func (r *inboxRig) bareFeed() contender {
	all := make([][]byte, len(r.names))
	for i, name := range r.names {
		all[i] = request(http.MethodGet, "/feed/"+name, "")
	}
	return contender{name: "bare handler", op: func(ctx context.Context) error { return r.bare.do(ctx, all[r.anybody()], 200, nil) },
		allocates: func(b *testing.B) float64 {
			return allocations(b, r.bareHandler, 200, func() []byte { return all[r.anybody()] })
		}}
}

// readsAt is at how many clients reads are compared: enough to keep two processors busy.
const readsAt = 32

func (r *inboxRig) compareReads(b *testing.B) {
	b.Helper()
	var anonymousTag string
	require.NoError(b, r.lines.do(b.Context(), r.get("/v1/inbox", ""), 200, func(a answer) { anonymousTag = a.etag }))
	contenders := []contender{
		r.bareFeed(),
		r.one("constant bytes", r.bare, request(http.MethodGet, "/constant", ""), 200),
		r.reading("feed, first page", "/v1/inbox", 200, nil),
		r.one("feed, page 500 of 1000", r.lines, r.get("/v1/inbox?cursor="+r.deepPage(b, r.deep, deepViewer, deepItems/2), r.deep), 200),
		r.reading("feed, 304", "/v1/inbox", 304, func(i int) []string { return []string{"If-None-Match", r.etags[i]} }),
		r.reading("counts", "/v1/inbox/counts", 200, nil),
		r.reading("changes, none", "/v1/inbox/changes?since="+r.version(b, 300), 200, nil),
		r.reading("changes, mostly 20", "/v1/inbox/changes?since="+r.version(b, 63), 200, nil),
		r.one("anonymous feed", r.lines, r.get("/v1/inbox", ""), 200),
		r.one("anonymous, 304", r.lines, r.get("/v1/inbox", "", "If-None-Match", anonymousTag), 304),
	}
	measured := rounds(b, readsAt, window(b), r.watched, contenders)
	notes := []string{
		goal(b, "signed-in feed to bare handler", ratios(measured[2], measured[0], rate), .7, false),
		goal(b, "deep page to bare handler", ratios(measured[3], measured[0], rate), .7, false),
		goal(b, "anonymous feed to constant", ratios(measured[8], measured[1], rate), .8, false),
		goal(b, "anonymous 304 to constant", ratios(measured[9], measured[1], rate), .8, false),
	}
	r.print(b, readsAt, contenders, measured, notes)
}

// version is one that readers have had.
func (r *inboxRig) version(b *testing.B, own int64) string {
	b.Helper()
	var global int64
	require.NoError(b, r.pool.QueryRow(b.Context(), `SELECT version FROM inbox_globals`).Scan(&global))
	return inbox.Version{Own: own, Global: global}.String()
}

func (r *inboxRig) print(b *testing.B, clients int, contenders []contender, measured [][]round, notes []string) {
	b.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d clients\trequests/s\tto %s\tto %s\tp50 ms\tp99 ms\tcpu µs: own\tPostgres\tallocations\t\n", clients, contenders[0].name, contenders[1].name)
	for i, c := range contenders {
		rs := measured[i]
		allocated := ""
		if c.allocates != nil {
			allocated = fmt.Sprintf("%.0f", c.allocates(b))
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%s\t\n", c.name, median(rs, rate), ratio(rs, measured[0], rate), ratio(rs, measured[1], rate),
			median(rs, millis(.5)), median(rs, millis(.99)), 1000*median(rs, func(r round) float64 { return r.cpu[own] }), 1000*median(rs, func(r round) float64 { return r.cpu[postgresServer] }), allocated)
	}
	require.NoError(b, w.Flush())
	for _, n := range notes {
		fmt.Fprintln(&out, n)
	}
	fmt.Fprintf(os.Stdout, "\n%s\n", out.String())
}

// sizeCost is what calls cost at one size of the database.
type sizeCost struct {
	messages int64
	seeding  time.Duration
	names    []string
	rounds   [][]round
	allocs   []float64
}

// cost measures one client at a time: what is left is the call itself.
func (r *inboxRig) cost(b *testing.B) sizeCost {
	b.Helper()
	heavy := "s" + strconv.Itoa(r.data.customers-r.data.customers%10) // has 250
	token, _, err := r.api.issuer.Mint(heavy, "")
	require.NoError(b, err)
	calls := []struct {
		name    string
		request func() []byte
	}{
		{"feed, first page", func() []byte { return r.get("/v1/inbox", r.tokens[r.anybody()]) }},
		{"feed, last page of 250", fixed(r.get("/v1/inbox?cursor="+r.deepPage(b, token, heavy, 205), token))},
		{"feed, page 1 of 1000", fixed(r.get("/v1/inbox", r.deep))},
		{"feed, page 990 of 1000", fixed(r.get("/v1/inbox?cursor="+r.deepPage(b, r.deep, deepViewer, 19_800), r.deep))},
		{"counts", func() []byte { return r.get("/v1/inbox/counts", r.tokens[r.anybody()]) }},
	}
	var contenders []contender
	out := sizeCost{messages: r.data.messages, seeding: r.data.took}
	for _, c := range calls {
		contenders = append(contenders, contender{name: c.name, op: func(ctx context.Context) error { return r.lines.do(ctx, c.request(), 200, nil) }})
		out.names = append(out.names, c.name)
		out.allocs = append(out.allocs, allocations(b, r.api.handler, 200, c.request))
	}
	out.rounds = rounds(b, 1, min(window(b), time.Second), r.watched, contenders)
	return out
}

func fixed(request []byte) func() []byte { return func() []byte { return request } }

// allocations of a handler for one request; making the request, and the clients, are left out.
func allocations(b *testing.B, handler http.Handler, want int, next func() []byte) float64 {
	b.Helper()
	return testing.AllocsPerRun(50, func() {
		req, err := http.ReadRequest(readerOf(next()))
		require.NoError(b, err)
		rec := httptest.NewRecorder()
		req.RemoteAddr = net.JoinHostPort("127.0.0.1", "1")
		handler.ServeHTTP(rec, req)
		if rec.Code != want {
			b.Fatalf("answered %d: %s", rec.Code, rec.Body)
		}
	}) - overhead(next())
}

func printCosts(b *testing.B, costs []sizeCost) {
	b.Helper()
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "1 client, p50 ms (p99, allocations)\t")
	for _, c := range costs {
		fmt.Fprintf(w, "%d messages\t", c.messages)
	}
	fmt.Fprint(w, "largest to smallest\t\n")
	for i, name := range costs[0].names {
		fmt.Fprintf(w, "%s\t", name)
		for _, c := range costs {
			fmt.Fprintf(w, "%.2f (%.2f, %.0f)\t", median(c.rounds[i], millis(.5)), median(c.rounds[i], millis(.99)), c.allocs[i])
		}
		last := costs[len(costs)-1]
		fmt.Fprintf(w, "%.2f\t\n", median(last.rounds[i], millis(.5))/median(costs[0].rounds[i], millis(.5)))
	}
	require.NoError(b, w.Flush())
	fmt.Fprintf(os.Stdout, "\n%s\n", out.String())
}
