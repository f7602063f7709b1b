package httpapi

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// fakeRights erases at once, unless the application is stuck.
type fakeRights struct{ app *fakeApp }

func (f fakeRights) Erase(ctx context.Context, c ports.ChangeCommand) (ports.ErasureState, error) {
	c.Change = preference.Erase()
	result, err := f.app.Change(ctx, c)
	if err != nil {
		return ports.ErasureState{}, err
	}
	return f.Erasure(ctx, result.Operation.ID)
}

func (f fakeRights) Erasure(ctx context.Context, id string) (ports.ErasureState, error) {
	op, err := f.app.Find(ctx, id)
	if err != nil || !op.Change.Erases() {
		return ports.ErasureState{}, cmpErr(err, errNoOperation)
	}
	if op.Status != preference.Applied {
		return ports.ErasureState{Operation: op}, nil
	}
	return ports.ErasureState{Proof: &ports.ErasureProof{Operation: id, Chain: "ch_1", Entries: 3, Head: consent.Hash{0xab}, By: op.Actor,
		Targets: op.Operation.Targets, RequestedAt: op.AcceptedAt, ErasedAt: op.SettledAt}}, nil
}

func (f fakeRights) Export(ctx context.Context, customer preference.CustomerID) (ports.Export, error) {
	view, err := f.app.View(ctx, customer)
	if err != nil {
		return ports.Export{}, err
	}
	out := ports.Export{Customer: customer, At: f.app.now, View: view, Recipients: map[preference.Target]preference.Holding{
		preference.Push: view.Preferences.Desired(preference.Push)}, Activity: []ports.ClientActivity{
		{Kind: "client_event", ID: "e-1", At: f.app.now}, {Kind: "link_conversion", ID: "msg_1"}}}
	out.Ledger, err = f.app.Audit(ctx, customer, 0, 100)
	for _, op := range f.app.ops {
		if op.Customer == customer {
			out.Operations = append(out.Operations, f.app.state(op))
		}
	}
	out.Messages = []ports.FeedEntry{{ID: 7, Card: []byte(`"title":"Hello","body":"","deeplink":null,"expiry":"2027-01-01T00:00:00Z","category":"news","audience":"personal",` +
		`"published_at":"2026-01-01T00:00:00Z","image_url":null,"pinned":false,"actions":[],"deeplink_status":null`),
		Receipt: inbox.Receipt{SeenAt: f.app.now}}}
	return out, err
}

func TestErasing(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	got := a.call("DELETE", "/v1/customers/ada", "privacy", "").is(200)
	var e Erasure
	got.json(&e)
	require.Equal(t, "erased", e.Status)
	require.Equal(t, "ch_1", e.Ledger.Chain)
	require.Len(t, e.Targets, 3)
	require.Equal(t, e.Id, got.header.Get("Accord-Operation"))
	require.Equal(t, consent.Actor{Type: "operator", ID: "privacy-desk"}, a.app.commands[len(a.app.commands)-1].Actor)
	var same Erasure
	a.call("GET", "/v1/erasures/"+e.Id, "privacy", "").is(200).json(&same)
	require.Equal(t, e, same)
	a.call("GET", "/v1/erasures/op-1", "privacy", "").is(404) // an operation of another kind
	a.call("GET", "/v1/erasures/op-9", "privacy", "").is(404)
}

func TestErasingThatTakesLonger(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.app.stuck = true
	got := a.call("DELETE", "/v1/customers/ada%40example.org", "privacy", "").is(202)
	require.Equal(t, "/v1/erasures/op-1", got.header.Get("Location"))
	require.Equal(t, "1", got.header.Get("Retry-After"))
	var e Erasure
	got.json(&e)
	require.Equal(t, "running", e.Status)
	require.Nil(t, e.ErasedAt)
	var again Erasure
	a.call("DELETE", "/v1/customers/ada%40example.org", "privacy", "", "Prefer: respond-async").is(202).json(&again)
	require.Equal(t, e.Id, again.Id, "one at a time")
}

func TestRightsNeedTheirScope(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	for _, call := range []string{"DELETE /v1/customers/ada", "GET /v1/customers/ada/export", "GET /v1/erasures/op-1"} {
		method, path, _ := strings.Cut(call, " ")
		a.call(method, path, "", "").is(401)
		for _, token := range []string{"ada", "ops", "auditor", "reader"} {
			require.Equal(t, "insufficient-scope", a.call(method, path, token, "").is(403).problem().Code, "%s as %s", call, token)
		}
	}
	require.Len(t, a.app.commands, 1, "nothing was asked for but the phone")
}

func TestExport(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	got := a.call("GET", "/v1/customers/ada/export", "privacy", "").is(200)
	require.Equal(t, "no-store", got.header.Get("Cache-Control"))
	require.NotContains(t, string(got.body), "token-of-ada", "a token is a credential")
	var e struct {
		CustomerExport
		Inbox []map[string]any `json:"inbox"`
	}
	got.json(&e)
	require.Equal(t, "ada", e.Customer)
	require.Len(t, e.Operations, 1)
	require.Len(t, e.Ledger, 2)
	require.Equal(t, "Hello", e.Inbox[0]["title"])
	require.Equal(t, a.app.now.Format(time.RFC3339), e.Inbox[0]["seen_at"])
	require.Equal(t, "off", e.Recipients["push"]["channel/news"])
	require.Len(t, e.Activity, 2)
}
