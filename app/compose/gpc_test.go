package compose

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

// told waits until a signal has had an outcome so many times.
func (in *installed) told(outcome string, times int) {
	in.t.Helper()
	require.Eventually(in.t, func() bool {
		return testutil.ToFloat64(in.c.metrics.signals.WithLabelValues(outcome)) == float64(times)
	}, 20*time.Second, 5*time.Millisecond, outcome)
}

// subscribe is the customer's own choice.
func (in *installed) subscribe(c preference.CustomerID) {
	in.t.Helper()
	phone, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "t", Permission: preference.Granted})
	in.change(c, phone, err)
	on, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"promotions": true, "news": true}, nil)
	in.change(c, on, err)
	email, err := preference.SetEmail(preference.Subscribed, nil)
	in.change(c, email, err)
	in.settle(c)
}

func (in *installed) on(c preference.CustomerID) []bool {
	in.t.Helper()
	in.settle(c)
	v, err := in.service.View(in.t.Context(), c)
	require.NoError(in.t, err)
	p := v.Preferences
	return []bool{p.Channel("promotions").Enabled, p.Channel("news").Enabled, p.Email().Status != preference.Unsubscribed}
}

const laptop, tablet = "Accord-Installation-Id: 8e03978e-40d5-43e8-bc93-6894a57f9324", "Accord-Installation-Id: 9e03978e-40d5-43e8-bc93-6894a57f9324"

// TestGlobalPrivacyControl over the API, the use cases and a real database. To see it fail, do not mark signals as honoured,
// or forget to note that one is gone.
func TestGlobalPrivacyControl(t *testing.T) {
	t.Parallel()
	in := install(t, map[string]string{"ACCORD_GPC_WITHDRAWS": "email,promotions"})
	auth := "Bearer " + in.token(string(ada), "")
	visit := func(headers ...string) {
		t.Helper()
		require.Equal(t, http.StatusOK, in.ask("GET", "/v1/preferences", "", auth, headers...).status)
	}
	const gpc = "Sec-GPC: 1"
	in.subscribe(ada)
	visit(laptop)
	in.told("gone", 1)
	require.Equal(t, []bool{true, true, true}, in.on(ada))

	visit(laptop, gpc)
	in.told("withdrawn", 1)
	require.Equal(t, []bool{false, true, false}, in.on(ada), "what is configured, and nothing else")
	ledger := in.ask("GET", "/v1/preferences/audit", "", auth).body
	in.told("gone", 2) // that one named no installation
	require.Equal(t, 2, strings.Count(ledger, `"event":"applied"`)-3)
	require.Contains(t, ledger, `"source":"gpc"`)

	// What she chooses afterwards holds though the signal stands, also for a process that knows nothing of before.
	in.subscribe(ada)
	visit(laptop, gpc)
	require.Equal(t, []bool{true, true, true}, in.on(ada))
	again, stop, err := in.c.privacySignals(in.service)
	require.NoError(t, err)
	t.Cleanup(stop)
	again.Seen(signalled(ada, laptop, true))
	in.told("stands", 1)
	require.Equal(t, []bool{true, true, true}, in.on(ada))

	// Another browser of hers without it changes nothing; the same one without it, and with it anew, does.
	visit(tablet)
	in.told("gone", 3)
	visit(laptop, gpc)
	require.Equal(t, []bool{true, true, true}, in.on(ada))
	visit(laptop)
	in.told("gone", 4)
	visit(laptop, gpc)
	in.told("withdrawn", 2)
	require.Equal(t, []bool{false, true, false}, in.on(ada))

	// With nothing on there is nothing to record, and the signal counts as honoured.
	hers := "Bearer " + in.token(string(grace), "")
	require.Equal(t, http.StatusOK, in.ask("GET", "/v1/preferences", "", hers, gpc).status)
	in.told("nothing_on", 1)
	in.subscribe(grace)
	require.Equal(t, http.StatusOK, in.ask("GET", "/v1/inbox", "", hers, gpc).status)
	require.Equal(t, []bool{true, true, true}, in.on(grace))
}

// TestASignalIsNotLostWithTheDatabase: it is counted and tried again with the next request.
func TestASignalIsNotLostWithTheDatabase(t *testing.T) {
	t.Parallel()
	in := install(t, map[string]string{"ACCORD_GPC_WITHDRAWS": "promotions"})
	in.subscribe(ada)
	down := &fallible{SignalStore: in.c.db}
	down.fail.Store(true)
	s := in.signalsOver(down)
	s.Seen(signalled(ada, laptop, true))
	in.told("failed", 1)
	down.fail.Store(false)
	down.failHonoured.Store(true) // the withdrawal is accepted, and nobody learns of it
	s.Seen(signalled(ada, laptop, true))
	in.told("failed", 2)
	require.Equal(t, []bool{false, true, true}, in.on(ada))
	in.subscribe(ada)
	down.failHonoured.Store(false)
	s.Seen(signalled(ada, laptop, true))
	in.told("withdrawn", 1)
	require.Equal(t, []bool{true, true, true}, in.on(ada), "the same withdrawal, not another one")
}
