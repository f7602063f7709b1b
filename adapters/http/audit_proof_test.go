package httpapi

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
)

// fakeAuditing works on the fake application's ledger.
type fakeAuditing struct{ *fakeApp }

func (f fakeAuditing) Checkpoints(_ context.Context, after int64, limit int) (out []ports.SealedCheckpoint, err error) {
	for n := after + 1; n <= 5 && len(out) < limit; n++ {
		out = append(out, ports.SealedCheckpoint{Number: n, Size: 10 * n, SealedAt: f.now, Note: "note", Verifier: "v"})
	}
	return out, f.err
}

func (f fakeAuditing) lines(customer preference.CustomerID) (out []consent.Line) {
	for _, l := range f.links[customer] {
		e, err := l.Read(aKey)
		if err != nil {
			panic(err)
		}
		out = append(out, consent.Line{Link: l, Entry: e})
	}
	return out
}

func (f fakeAuditing) Proof(_ context.Context, customer preference.CustomerID, toCustomer bool) (p consent.Proof, err error) {
	p = consent.Proof{Format: consent.ProofFormat, Entries: []consent.ProofEntry{}, Chain: "ch_" + string(customer)}
	for _, l := range f.lines(customer) {
		e, err := consent.ProofOf(l, aKey, false, toCustomer && l.Entry.Actor.Type == "operator")
		if err != nil {
			return p, err
		}
		p.Entries = append(p.Entries, e)
	}
	return p, err
}

func (f fakeAuditing) ConsentAt(_ context.Context, customer preference.CustomerID, at time.Time) (consent.Standing, error) {
	return consent.StandingAt(f.lines(customer), at), f.err
}

func TestAProofIsHandedOutAsItIsChecked(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var none consent.Proof
	a.call("GET", "/v1/preferences/audit/proof", "ada", "").is(200).json(&none)
	_, _, problems := none.Check()
	require.Equal(t, []string{"there is no entry in it"}, problems, "who has no ledger has nothing to prove")
	a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"},"wording":{"id":"<w>","locale":"en"}}`).is(200)
	for _, ask := range [][2]string{{"/v1/preferences/audit/proof", "ada"}, {"/v1/customers/ada/audit/proof", "auditor"}} {
		var p consent.Proof
		a.call("GET", ask[0], ask[1], "").is(200).json(&p)
		opened, _, problems := p.Check()
		require.Empty(t, problems)
		require.Equal(t, 2, opened)
	}
}

func TestConsentAtATime(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.call("PATCH", "/v1/preferences/email", "ada", `{"marketing":{"status":"subscribed"}}`).is(200)
	var now, before ConsentAt
	a.call("GET", "/v1/preferences/consent", "ada", "").is(200).json(&now)
	require.Equal(t, "subscribed", now.Facts["email.marketing"].Value)
	require.EqualValues(t, 2, now.Facts["email.marketing"].Seq)
	require.Empty(t, now.Withheld)
	a.call("GET", "/v1/customers/ada/consent?at=2020-01-01T00:00:00Z", "auditor", "").is(200).json(&before)
	require.Empty(t, before.Facts)
	a.call("GET", "/v1/preferences/consent?at=yesterday", "ada", "").is(400)
}

func TestCheckpointsAreHandedOutPageByPage(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var page CheckpointPage
	a.call("GET", "/v1/audit/checkpoints?limit=3", "auditor", "").is(200).json(&page)
	require.Len(t, page.Checkpoints, 3)
	a.call("GET", "/v1/audit/checkpoints?limit=3&cursor="+*page.NextCursor, "auditor", "").is(200).json(&page)
	require.EqualValues(t, 4, page.Checkpoints[0].Number)
	require.Nil(t, page.NextCursor)
	a.call("GET", "/v1/audit/checkpoints?cursor=x", "auditor", "").is(400)
	a.call("GET", "/v1/audit/checkpoints", "ada", "").is(403)
}
