package compose

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
	"github.com/stretchr/testify/require"

	"accord/adapters/auth"
	"accord/adapters/devstack/stacktest"
	"accord/adapters/links"
	"accord/adapters/postgres"
	"accord/app/config"
	"accord/app/preferences"
	"accord/app/stream"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

// The two customers. What is secret of the one must never be in an answer to anybody but herself and services.
const (
	ada    preference.CustomerID = "ada.lovelace@example.test"
	grace  preference.CustomerID = "grace.hopper@example.test"
	secret                       = "for-ada-alone"
)

// secretOf goes into every text of a customer's own.
func secretOf(c preference.CustomerID) string {
	if c == ada {
		return secret
	}
	return "for-somebody-else"
}

// installed is the HTTP API as it is shipped, over the real use cases and a database of its own. Temporal is not there:
// runs are taken and never worked on; the test settles changes itself.
type installed struct {
	t       *testing.T
	c       *core
	service *preferences.Service
	handler http.Handler
	key     jwk.Key
}

// noRuns takes every run.
type noRuns struct{}

func (noRuns) Start(context.Context, ports.Run) error                   { return nil }
func (noRuns) Wake(context.Context, preference.CustomerID, int64) error { return nil }
func (noRuns) Link(preference.CustomerID, int64) string                 { return "" }

func (in *installed) Key(_ context.Context, id string) (jwk.Key, error) {
	if id != "test" {
		return nil, fault.New(fault.NotFound, "not-found", "no such key")
	}
	return in.key.PublicKey()
}

const (
	testIssuer = "https://issuer.example.test"
	publicURL  = "https://mail.example.test"
)

func install(t *testing.T, environ map[string]string) *installed {
	t.Helper()
	database := stacktest.PostgresFrom(t, "accord", func(url string) error {
		return postgres.Migrate(context.Background(), url, func(string, ...any) {})
	})
	settings := map[string]string{"ACCORD_DATABASE_URL": database, "ACCORD_DATABASE_CONNS": "8", "ACCORD_TEMPORAL_ADDRESS": "127.0.0.1:1",
		"ACCORD_EMAIL_DOUBLE_OPT_IN": "true", "ACCORD_PUBLIC_URL": publicURL, "ACCORD_LINK_KEYS": links.NewKey("test"),
		"ACCORD_LEDGER_KEYS":         newKey("test"),
		"ACCORD_RATE_LIMIT_CUSTOMER": "off", "ACCORD_RATE_LIMIT_ADDRESS": "off"} // hundreds of calls in a moment are not what limits are for
	for name, value := range environ {
		settings[name] = value
	}
	cfg := config.Load(settings)
	require.NoError(t, cfg.Validate())
	c, err := openCore(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.close()) })
	in := &installed{t: t, c: c, key: signingKey(t)}
	in.service = preferences.New(preferences.Config{Accounts: c.db, Operations: c.db, Devices: c.db, Ledger: c.db, Outcomes: c.db, Runs: noRuns{},
		Catalogue: c.catalogue, GrantBudget: time.Minute, Now: time.Now, NewID: newOperationID, Logger: c.log})
	t.Cleanup(in.service.Close)
	streams := stream.New(stream.Config{Events: c.db, Standings: c.db, Inbox: c.inbox, Measures: c.metrics, Logger: c.log})
	t.Cleanup(streams.Close)
	verifier, err := auth.NewVerifier(auth.Config{Issuer: testIssuer, Audience: "accord", Keys: in})
	require.NoError(t, err)
	signals, stopSignals, err := c.privacySignals(in.service)
	require.NoError(t, err)
	t.Cleanup(stopSignals)
	in.handler, err = c.handler(in.service, streams, signals, auth.NewCache(verifier, in), nil)
	require.NoError(t, err)
	return in
}

func signingKey(t *testing.T) jwk.Key {
	t.Helper()
	_, raw, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	key, err := jwk.Import(raw)
	require.NoError(t, err)
	require.NoError(t, errors.Join(key.Set(jwk.KeyIDKey, "test"), key.Set(jwk.AlgorithmKey, jwa.EdDSA())))
	return key
}

// token for a subject. change makes it worse.
func (in *installed) token(subject, scope string, change ...func(*jwt.Builder) *jwt.Builder) string {
	in.t.Helper()
	claims := jwt.NewBuilder().Issuer(testIssuer).Audience([]string{"accord"}).Subject(subject).IssuedAt(time.Now()).
		Expiration(time.Now().Add(time.Hour)).Claim("client_id", "app").Claim("scope", scope)
	for _, c := range change {
		claims = c(claims)
	}
	claim, err := claims.Build()
	require.NoError(in.t, err)
	head := jws.NewHeaders()
	require.NoError(in.t, errors.Join(head.Set(jws.TypeKey, "at+jwt"), head.Set(jws.KeyIDKey, "test")))
	signed, err := jwt.Sign(claim, jwt.WithKey(jwa.EdDSA(), in.key, jws.WithProtectedHeaders(head)))
	require.NoError(in.t, err)
	return string(signed)
}

// said is an answer.
type said struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. A stream is asked for its headers alone: it has no end.
func (in *installed) ask(method, target, body, authorization string, headers ...string) said {
	in.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	in.handler.ServeHTTP(rec, req)
	raw, err := io.ReadAll(rec.Result().Body)
	require.NoError(in.t, err)
	return said{status: rec.Code, header: rec.Result().Header, body: string(raw)}
}

// fill puts names of the owner's things into a template. An owner who is nobody owns what is everybody's.
func (in *installed) fill(template string, owner preference.CustomerID) (string, map[string]string) {
	in.t.Helper()
	made := map[string]string{}
	for noun, makeOne := range map[string]func(preference.CustomerID) string{
		"{customer}": func(c preference.CustomerID) string { return string(c) }, "{device}": in.device, "{message}": in.message,
		"{operation}": in.operation, "{parked}": in.parked, "{link}": in.link, "{version}": in.version,
		"{pending}": in.pending, "{unsubscribe}": in.unsubscribe, "{confirm}": in.confirm,
		"{erasure}":      in.erasure,
		"{leaver}":       func(preference.CustomerID) string { return "leaver-" + uuid.NewString() },
		"{token}":        func(preference.CustomerID) string { return "token-" + uuid.NewString() },
		"{event}":        func(preference.CustomerID) string { return uuid.NewString() },
		"{installation}": func(preference.CustomerID) string { return uuid.NewString() },
		"{now}":          func(preference.CustomerID) string { return time.Now().UTC().Format(time.RFC3339) },
		"{secret}":       secretOf,
	} {
		if strings.Contains(template, noun) {
			made[noun] = makeOne(owner)
		}
	}
	return put(template, made), made
}

// put replaces nouns: in the path as a URL wants it, which leaves what is in a body alone.
func put(template string, made map[string]string) string {
	for noun, name := range made {
		if strings.HasPrefix(template, "/") {
			name = url.PathEscape(name)
		}
		template = strings.ReplaceAll(template, noun, name)
	}
	return template
}

// unknown is a name of the form that a noun's names have, of nothing.
func unknown(noun string) string {
	switch noun {
	case "{customer}":
		return "nobody@example.test"
	case "{device}":
		return "device-" + uuid.NewString()
	case "{message}":
		return inbox.MessageID(1 << 40).String()
	}
	return newOperationID()
}

func (in *installed) change(customer preference.CustomerID, c preference.Change, err error) string {
	in.t.Helper()
	require.NoError(in.t, err)
	result, err := in.service.Change(in.t.Context(), ports.ChangeCommand{Customer: customer, Change: c, Source: preference.FromApp,
		Actor: consent.Actor{Type: "customer", ID: string(customer)}, Origin: consent.Origin{Source: "app"}})
	require.NoError(in.t, err)
	return result.Operation.ID
}

// settle commits whatever is open, as a run would have.
func (in *installed) settle(customer preference.CustomerID) {
	in.t.Helper()
	for {
		acc, err := in.c.db.Load(in.t.Context(), customer)
		require.NoError(in.t, err)
		if len(acc.Open()) == 0 {
			return
		}
		require.NoError(in.t, in.c.db.UpdateOperation(in.t.Context(), acc.Open()[0].ID, func(a *preference.Account, op *preference.Operation) error {
			_, run := a.Turn()
			if err := a.Begin(op, run, time.Now()); err != nil || op.Status.Settled() {
				return err
			}
			return a.Commit(op, time.Now())
		}))
	}
}

// device is there again after a call has released it.
func (in *installed) device(owner preference.CustomerID) string {
	id := "phone-of-" + owner.Pseudonym()
	c, err := preference.RegisterDevice(preference.Registration{Device: preference.DeviceID(id), Platform: preference.IOS,
		Token: secretOf(owner) + "-token-" + owner.Pseudonym(), Permission: preference.Denied})
	in.change(owner, c, err)
	in.settle(owner)
	return id
}

func (in *installed) operation(owner preference.CustomerID) string {
	off := false
	c, err := preference.SwitchPush(&off, nil, &preference.Wording{ID: secretOf(owner), Locale: "en"})
	id := in.change(owner, c, err)
	in.settle(owner)
	return id
}

// parked is an operation that waits for a decision, of somebody new: it keeps the turn.
func (in *installed) parked(preference.CustomerID) string {
	off, customer := false, preference.CustomerID("parked-"+uuid.NewString())
	c, err := preference.SwitchPush(&off, nil, nil)
	id := in.change(customer, c, err)
	require.NoError(in.t, in.c.db.UpdateOperation(in.t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
		_, run := a.Turn()
		return errors.Join(a.Begin(op, run, time.Now()), a.Park(op, consent.Reason{Code: "refused", Target: "crm"}, time.Now()))
	}))
	return id
}

// pending is somebody new who has asked for marketing e-mail and not confirmed it.
func (in *installed) pending(preference.CustomerID) string {
	customer := preference.CustomerID("pending-" + uuid.NewString())
	c, err := preference.SetEmail(preference.Subscribed, &preference.Wording{ID: "newsletter", Locale: "en"})
	in.change(customer, c, err)
	in.settle(customer)
	return string(customer)
}

// erasure is of somebody new, too.
func (in *installed) erasure(preference.CustomerID) string {
	return in.change(preference.CustomerID("leaving-"+uuid.NewString()), preference.Erase(), nil)
}

func (in *installed) unsubscribe(preference.CustomerID) string {
	return in.linkFor("unsubscribe", "linked-"+uuid.NewString())
}

func (in *installed) confirm(owner preference.CustomerID) string {
	return in.linkFor("confirmation", in.pending(owner))
}

// linkFor is the token in a new link.
func (in *installed) linkFor(kind, customer string) string {
	in.t.Helper()
	got := in.ask("POST", "/v1/customers/"+customer+"/"+kind+"-links", "", "Bearer "+in.token("mailer", "preferences:write"))
	require.Equal(in.t, http.StatusOK, got.status, got.body)
	var link struct{ URL string }
	require.NoError(in.t, json.Unmarshal([]byte(got.body), &link))
	return link.URL[strings.LastIndexByte(link.URL, '/')+1:]
}

// message is personal, and everybody's when nobody is to own it.
func (in *installed) message(owner preference.CustomerID) string {
	d := inbox.Draft{Source: "test", ExternalID: uuid.NewString(), Audience: inbox.Global, Content: inbox.Content{Text: inbox.Text{Title: "for everybody"}, Category: "news"}}
	if owner != "" {
		d.Audience, d.Recipients, d.Content.Title = inbox.Personal, []preference.CustomerID{owner}, secretOf(owner)
	}
	d.PublishAt, d.Expiry = time.Now(), time.Now().Add(time.Hour)
	stored, _, err := in.c.inbox.Publish(in.t.Context(), d)
	require.NoError(in.t, err)
	return stored.ID.String()
}

func (in *installed) link(preference.CustomerID) string {
	key := "link-" + uuid.NewString()
	pattern, err := inbox.ParsePattern("app://" + key)
	require.NoError(in.t, err)
	_, _, err = in.c.inbox.PutTarget(in.t.Context(), inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: pattern, Active: true})
	require.NoError(in.t, err)
	return key
}

func (in *installed) version(owner preference.CustomerID) string {
	state, err := in.c.inbox.Counts(in.t.Context(), inbox.CustomerViewer(owner))
	require.NoError(in.t, err)
	return state.Version.String()
}
