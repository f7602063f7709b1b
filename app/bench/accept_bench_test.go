package bench

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// BenchmarkAccept holds withdrawals that are durably accepted (202, `Prefer: respond-async`) against the database's own
// rate for the same statements: the texts and values that the API itself has sent, with other customers' ids in them, run
// through as many connections by pgx alone. Temporal is down meanwhile, which must not keep a withdrawal from being
// accepted, and which leaves both sides with nothing but the acceptance. Each ratio is given to both:
//
//   - bare transaction: the statements between begin and commit
//   - bare statements: as they are sent, which is without a transaction around them (the last one stores everything, on
//     condition that the first one's row is still what it was)
//
// Every withdrawal is of another customer, who is known and has a phone.
func BenchmarkAccept(b *testing.B) {
	pg := startPostgres(b)
	watched := processes{postgres: pg.server.PID()}
	cfg := configured(b, pg.database(b, "accept"), freeAddr(b)) // where nothing listens
	sent := &recorder{}
	a := startAccord(b, cfg, nil, sent)
	people := settle(b, cfg.DatabaseURL.Reveal(), "c-", true, catalogueOf(b, cfg))
	people.issuer = a.issuer
	server := newAPI(b, a.base)
	accept := func(ctx context.Context) error {
		n, _, err := people.next()
		if err != nil {
			return err
		}
		return server.switchPromotions(ctx, people.token(n), false, "respond-async", 202)
	}
	require.NoError(b, accept(b.Context())) // so that the recorded one is not the one that finds everything cold
	transaction := sent.record(b, func() (customer string) {
		require.NoError(b, accept(b.Context()))
		return people.id(people.last.Load())
	})
	contenders := []contender{
		{name: "bare transaction", op: transaction.replay(b, cfg.DatabaseURL.Reveal(), cfg.DatabaseConns, people, true)},
		{name: "bare statements", op: transaction.replay(b, cfg.DatabaseURL.Reveal(), cfg.DatabaseConns, people, false)},
		{name: "withdrawal", op: accept, prepare: func(int) { people.sign(perRound) }},
	}
	table := newTable(b, "accepted", "transaction", "statements")
	var notes []string
	for _, clients := range clientCounts {
		measured := rounds(b, clients, min(window(b), longest), watched, contenders)
		table.add(clients, contenders, measured)
		notes = append(notes, goal(b, fmt.Sprintf("withdrawals at %d clients, throughput", clients), ratios(measured[2], measured[0], rate), .5, false))
	}
	notes = append(notes, fmt.Sprintf("statements of one acceptance: %s", strings.Join(transaction.names(), ", ")))
	b.ReportMetric(0, "ns/op")
	table.print(notes...)
}

// recorder keeps what is sent to the database, while told to.
type recorder struct {
	mu         sync.Mutex
	recording  bool
	statements []statement
}

type statement struct {
	text string
	args []any
}

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recording {
		r.statements = append(r.statements, statement{q.SQL, q.Args})
	}
	return ctx
}

func (*recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// transaction is one acceptance as it went over the wire.
type transaction struct {
	customer   string
	operation  string
	statements []statement
}

func (r *recorder) record(b *testing.B, accept func() (customer string)) transaction {
	b.Helper()
	r.mu.Lock()
	r.recording = true
	r.mu.Unlock()
	t := transaction{customer: accept()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recording = false
	for _, s := range r.statements {
		if strings.Contains(s.text, "jsonb_array_elements_text") {
			continue // looking for outcomes, which came between
		}
		for _, arg := range s.args {
			if text, is := arg.(string); is && strings.HasPrefix(text, "op_") {
				t.operation = text
			}
		}
		t.statements = append(t.statements, s)
	}
	require.NotEmpty(b, t.operation, "no operation in %v", t.names())
	return t
}

// names are the statements' beginnings.
func (t transaction) names() []string {
	var out []string
	for _, s := range t.statements {
		words := strings.Fields(s.text)
		out = append(out, strings.ToLower(strings.Join(words[:min(3, len(words))], " "))+" …")
	}
	return out
}

// replay runs the statements for another customer, as another operation; in a transaction of their own, when asked for.
func (t transaction) replay(b *testing.B, url string, connections int, people *people, inOne bool) func(context.Context) error {
	b.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(b, err)
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	return func(ctx context.Context) error {
		n, _, err := people.next()
		if err != nil {
			return err
		}
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		if !inOne {
			return t.run(ctx, conn, people.id(n), newID())
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return t.run(ctx, tx, people.id(n), newID()) })
	}
}

// condition finds the parameter that says which version of the customer's row has been read.
var condition = regexp.MustCompile(`xmin::text = \$(\d+)`)

func (t transaction) run(ctx context.Context, on interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, customer, operation string) error {
	version := ""
	for _, s := range t.statements {
		args := make([]any, len(s.args))
		for i, arg := range s.args {
			switch arg {
			case t.customer:
				arg = customer
			case chainOf(t.customer):
				arg = chainOf(customer)
			case t.operation:
				arg = operation
			}
			args[i] = arg
		}
		if at := condition.FindStringSubmatch(s.text); at != nil {
			n, err := strconv.Atoi(at[1])
			if err != nil {
				return err
			}
			args[n] = version // the first one tells the format of the results
		}
		rows, err := on.Query(ctx, s.text, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			version = string(rows.RawValues()[0])
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Customers are for one withdrawal each, and there are only so many of them.
const (
	perRound = 5_000 // have their tokens before a round; the others get theirs in it
	longest  = 2 * time.Second
)
