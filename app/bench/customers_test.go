package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/auth"
	"accord/adapters/keyring"
	"accord/app/config"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// people are customers who are known already, each with a phone. Every unit of work is done for another one. Either all
// have promotions switched on, or those with an even number.
type people struct {
	allOn  bool
	prefix string
	last   atomic.Int64
	tokens sync.Map // number to bearer token
	minted int64
	issuer *auth.DevIssuer
}

// enough customers for the longest benchmark on a fast machine.
func enough() int { return 70_000 * max(3, *turns) }

// settle puts the people into a database.
func settle(b *testing.B, url, prefix string, allOn bool, catalogue *preference.Catalogue) *people {
	b.Helper()
	states := [2]string{}
	for i, on := range []bool{true, allOn} {
		state, err := json.Marshal(withPhone(b, catalogue, on).Snapshot())
		require.NoError(b, err)
		states[i] = string(state)
	}
	conn, err := pgx.Connect(b.Context(), url)
	require.NoError(b, err)
	defer func() { require.NoError(b, conn.Close(context.Background())) }()
	_, err = conn.Exec(b.Context(), `INSERT INTO customers (id, version, state, last_number, turn, run, chain, data_key, ledger_seq, ledger_hash, created_at, updated_at)
		SELECT $1::text || n, 2, replace((ARRAY[$2::text, $3::text])[1 + n % 2], 'TOKEN', 'token-of-' || $1::text || n)::jsonb, 0, 0, 0, 'ch_' || $1::text || n, k, 0,
		  decode(repeat('00', 32), 'hex'), now(), now() FROM unnest($4::bytea[]) WITH ORDINALITY AS keys (k, n)`, prefix, states[0], states[1], dataKeys(b, prefix))
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), `VACUUM ANALYZE customers`)
	require.NoError(b, err)
	return &people{prefix: prefix, allOn: allOn}
}

// dataKeys are those of the people's chains.
func dataKeys(b *testing.B, prefix string) [][]byte {
	b.Helper()
	ring := ledgerKeys(b)
	out := make([][]byte, enough())
	for i := range out {
		var err error
		out[i], err = ring.Wrap(chainOf(fmt.Sprint(prefix, i+1)), consent.Key{1})
		require.NoError(b, err)
	}
	return out
}

// chainOf is the name of somebody's chain.
func chainOf(customer string) string { return "ch_" + customer }

// ledgerKey opens the data keys of the people who were put into a database: name and secret as ACCORD_LEDGER_KEYS has them.
const ledgerKey = "bench:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func ledgerKeys(b *testing.B) *keyring.Ring {
	b.Helper()
	keys, err := config.Config{LedgerKeys: ledgerKey}.KeysOfLedger()
	require.NoError(b, err)
	ring, err := keyring.New(keyring.Key{ID: keys[0].ID, Secret: keys[0].Secret})
	require.NoError(b, err)
	return ring
}

// withPhone is what one of them has chosen, made by the domain itself.
func withPhone(b *testing.B, catalogue *preference.Catalogue, promotions bool) preference.Preferences {
	b.Helper()
	now := time.Now()
	account := preference.RestoreAccount(preference.Standing{Preferences: preference.Defaults("someone", catalogue), Chain: consent.Chain{Key: consent.Key{1}}})
	register, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "TOKEN",
		Permission: preference.Granted, AppVersion: "4.2.0", Locale: "en"})
	require.NoError(b, err)
	for i, change := range []preference.Change{register, switching(b, promotions)} {
		op, _, err := account.Accept(preference.Request{ID: strconv.Itoa(i), Change: change, Source: preference.FromApp,
			Actor: consent.Actor{Type: "customer", ID: "someone"}, Budget: time.Minute}, now)
		require.NoError(b, err)
		require.NoError(b, account.Begin(op, op.Number, now))
		require.NoError(b, account.Commit(op, now))
	}
	return account.Preferences()
}

func switching(b *testing.B, on bool) preference.Change {
	b.Helper()
	c, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"promotions": on}, nil)
	require.NoError(b, err)
	return c
}

func (p *people) id(n int64) string { return p.prefix + strconv.FormatInt(n, 10) }

// next is somebody who has not been asked yet; promotions tells what they have switched on now.
func (p *people) next() (n int64, promotions bool, err error) {
	n = p.last.Add(1)
	if n > int64(enough()) {
		err = fmt.Errorf("all %d customers are used up; use a shorter -benchtime", enough())
	}
	return n, p.allOn || n%2 == 0, err
}

// sign mints bearer tokens for the next units customers: an app has its token before it makes a request.
func (p *people) sign(units int) {
	from, to := max(p.minted, p.last.Load())+1, p.last.Load()+int64(units)
	p.minted = max(p.minted, to)
	var all sync.WaitGroup
	each := int64(runtime.GOMAXPROCS(0))
	for first := from; first < from+each; first++ {
		all.Go(func() {
			for n := first; n <= to; n += each {
				p.mint(n)
			}
		})
	}
	all.Wait()
}

func (p *people) mint(n int64) string {
	token, _, err := p.issuer.Mint(p.id(n), "")
	if err != nil {
		panic(err) // a random source that has failed
	}
	p.tokens.Store(n, "Bearer "+token)
	return "Bearer " + token
}

func (p *people) token(n int64) string {
	if t, ok := p.tokens.LoadAndDelete(n); ok {
		return t.(string)
	}
	return p.mint(n)
}

// command asks for a change the way the HTTP adapter does, and waits.
func (p *people) command(n int64, change preference.Change) ports.ChangeCommand {
	id := p.id(n)
	return ports.ChangeCommand{Customer: preference.CustomerID(id), Change: change, Source: preference.FromApp,
		Actor: consent.Actor{Type: "customer", ID: id}, Origin: consent.Origin{Source: string(preference.FromApp), RequestID: id},
		Wait: 30 * time.Second}
}

// api is the HTTP side of the clients: connections that stay open.
type api struct {
	base   string
	client *http.Client
	bodies [2]string
}

func newAPI(b *testing.B, base string) *api {
	transport := &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true}
	b.Cleanup(transport.CloseIdleConnections)
	return &api{base: base, client: &http.Client{Transport: transport, Timeout: time.Minute}, bodies: [2]string{
		`{"channels":{"promotions":{"enabled":false}}}`, `{"channels":{"promotions":{"enabled":true}}}`}}
}

// switchPromotions sends the request and fails unless it is answered as it should be.
func (a *api) switchPromotions(ctx context.Context, token string, on bool, prefer string, want int) error {
	body := a.bodies[map[bool]int{false: 0, true: 1}[on]]
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, a.base+"/v1/preferences/push", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", token)
	req.Header.Set("Content-Type", "application/merge-patch+json")
	req.Header.Set("Prefer", prefer)
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusServiceUnavailable {
		return fault.New(fault.Unavailable, "unavailable", "answered 503: %s", answer)
	}
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("answered %d: %s", res.StatusCode, answer)
	}
	return err
}
