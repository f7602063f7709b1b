package postgres_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports/portstest"
)

// What is kept of an acceptance for the steps is what another process reads of it.
func TestWhatIsKeptOfAnAcceptanceIsWhatWasStored(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	here, elsewhere := open(t, url), open(t, url)
	known := portstest.Unsubscribe("grace")
	portstest.AcceptAhead(t, here, "grace", known)
	_, err := here.Begun(t.Context(), known.ID) // steps begin here
	require.NoError(t, err)

	registered, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "token-1",
		Permission: preference.Granted, AppVersion: "4.2.0", Locale: "en-GB"})
	require.NoError(t, err)
	push := true
	switched, err := preference.SwitchPush(&push, nil, nil)
	require.NoError(t, err)
	portstest.Apply(t, here, "ada", portstest.Unsubscribe("ada"))
	for _, r := range []preference.Request{
		{Change: registered},
		{Change: switched},
		{Change: portstest.Subscribe("ada").Change},
		{Change: portstest.Unsubscribe("ada").Change, Key: "key", Fingerprint: "print"},
		{Change: portstest.Unsubscribe("ada").Change, DecidedAt: portstest.Noon.Add(-time.Minute), Cause: "gpc"},
	} {
		like := portstest.Subscribe("ada")
		r.ID, r.Source, r.Actor, r.Budget = portstest.NewID(), like.Source, like.Actor, like.Budget
		r.Origin = consent.Origin{Source: string(like.Source), AppVersion: "4.2.0"}
		portstest.AcceptAhead(t, here, "ada", r)
		kept, err := here.Begun(t.Context(), r.ID)
		require.NoError(t, err)
		stored, err := elsewhere.Begun(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, text(t, stored), text(t, kept), r.Change.Summary())
		require.True(t, stored.AcceptedAt.Equal(kept.AcceptedAt) && stored.Deadline.Equal(kept.Deadline) && stored.DecidedAt.Equal(kept.DecidedAt), r.Change.Summary())
		portstest.Commit(t, here, r.ID)
		mine, err := here.Load(t.Context(), "ada")
		require.NoError(t, err)
		require.Empty(t, mine.Open(), r.Change.Summary())
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}
