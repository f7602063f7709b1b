package systemtest

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/config"
)

var outageLasts = flag.Duration("outage", 10*time.Second, "how long one vendor is down under a steady stream of changes")

// TestOneVendorDownUnderASteadyStream: customers of two kinds change their minds all the time, those whose changes (of a
// channel, of e-mail) concern the consent platform and those whose do not. It goes down and comes back. In the end everybody
// has been answered truly, the second kind has noticed nothing, and every vendor holds what we do.
//
// How much the second kind was slowed is reported, and held against the goal only in a long run on a machine that does
// nothing else: go test ./app/systemtest -run TestOneVendorDown -outage 10m -v.
func TestOneVendorDownUnderASteadyStream(t *testing.T) {
	t.Parallel()
	s := start(t, func(cfg *config.Config) {
		unlimited(cfg)
		cfg.WorkerAddr = freeAddr(t)
		if *outageLasts >= time.Minute {
			cfg.GrantBudget = 2 * time.Minute // as it is
		}
	})
	down := &outage{system: s, asked: map[string][]asked{}}
	for range 12 {
		down.concerned, down.others = append(down.concerned, customer()), append(down.others, customer())
	}
	for _, c := range slices.Concat(down.concerned, down.others) {
		s.registerPhone(t, c)
	}
	calm := down.stream(t, *outageLasts/3)
	s.control(t, http.MethodPost, "/faults", map[string]any{"target": "cmp", "customer": "*", "calls": "any", "kind": "status", "status": 503, "times": 0})
	stormy := down.stream(t, *outageLasts)
	s.control(t, http.MethodDelete, "/faults", nil)
	returned := time.Now()
	down.settle(t, 5*time.Minute)
	t.Logf("settled %s after the return; changes that do not concern the vendor: p50 %s and p90 %s before, %s and %s during",
		time.Since(returned).Round(time.Millisecond), quantile(calm, 50), quantile(calm, 90), quantile(stormy, 50), quantile(stormy, 90))
	down.judge(t)
	down.requireNoDrift(t)
	if *outageLasts >= 10*time.Minute {
		require.LessOrEqual(t, quantile(stormy, 50).Seconds(), 1.1*quantile(calm, 50).Seconds(), "nobody else's changes are slowed by more than a tenth")
	}
}

type outage struct {
	*system
	concerned, others []string

	mu    sync.Mutex
	asked map[string][]asked // in the order in which they were accepted
}

// asked is a change that was acknowledged.
type asked struct {
	operation, what string
	on              bool
}

// stream asks for about six changes a second, and answers how long those took that do not concern the vendor.
func (o *outage) stream(t *testing.T, lasts time.Duration) (took []time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	tick := time.NewTicker(330 * time.Millisecond)
	defer tick.Stop()
	over := time.After(lasts)
	for n := 0; ; n++ {
		select {
		case <-over:
			wg.Wait()
			return took
		case <-tick.C:
		}
		concerned, other := o.concerned[n%len(o.concerned)], o.others[n%len(o.others)]
		what := []string{"promotions", "email"}[rand.IntN(2)]
		wg.Go(func() { o.ask(t, concerned, what, "respond-async") })
		wg.Go(func() {
			began := time.Now()
			if o.ask(t, other, []string{"news", "loyalty"}[n%2], "wait=30") {
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
}

// ask switches a channel, or e-mail, on or off by chance. A grant that could not be started leaves nothing behind.
func (o *outage) ask(t *testing.T, customer, what, prefer string) bool {
	on := rand.IntN(2) == 0
	path, body := "/v1/preferences/push", map[string]any{"channels": map[string]any{what: map[string]any{"enabled": on}}}
	if what == "email" {
		path, body = "/v1/preferences/email", map[string]any{"marketing": map[string]any{"status": map[bool]string{true: "subscribed", false: "unsubscribed"}[on]}}
	}
	a, err := o.try(customer, "", http.MethodPatch, o.api+path, body, "Prefer", prefer)
	if err != nil {
		t.Error(err)
		return false
	}
	switch {
	case a.status == http.StatusOK, a.status == http.StatusAccepted, a.status == http.StatusBadGateway:
		o.mu.Lock()
		defer o.mu.Unlock()
		o.asked[customer] = append(o.asked[customer], asked{a.header.Get("Accord-Operation"), what, on})
		if a.status == http.StatusBadGateway {
			o.asked[customer][len(o.asked[customer])-1].operation = a.text("operation")
		}
	case a.status == http.StatusServiceUnavailable && on:
	default:
		t.Errorf("%s: %d %v", what, a.status, a.body)
	}
	return a.status == http.StatusOK
}

// settle waits until nothing is under way any more.
func (o *outage) settle(t *testing.T, limit time.Duration) {
	t.Helper()
	eventually(t, limit, func() string {
		a := o.asOperator(t, http.MethodGet, "/v1/operations?limit=100", nil)
		if open := a.at("operations").([]any); len(open) > 0 {
			return fmt.Sprintf("%d are open, such as %v", len(open), open[0])
		}
		return ""
	})
}

// judge holds every acknowledged change against what became of it, and everybody against what the vendors hold.
func (o *outage) judge(t *testing.T) {
	t.Helper()
	applied, compensated := 0, 0
	for _, c := range slices.Concat(o.concerned, o.others) {
		last, at := map[string]bool{}, map[string]int64{}
		for _, change := range o.asked[c] {
			op := o.operation(t, c, change.operation)
			number := int64(op.at("number").(float64))
			switch op.text("status") {
			case "applied":
				applied++
				if number > at[change.what] {
					last[change.what], at[change.what] = change.on, number
				}
			case "compensated":
				compensated++
				require.True(t, change.on, "a withdrawal was taken back: %v", op.body)
				if op.text("reason", "code") != "budget-exhausted" { // else it may have waited behind a withdrawal
					require.Equal(t, "cmp", op.text("reason", "target"), "%v", op.body)
				}
			default:
				require.Fail(t, "not settled", "%v", op.body)
			}
		}
		o.judgeHeld(t, c, last, slices.Collect(maps.Keys(at)))
	}
	t.Logf("%d changes applied, %d compensated", applied, compensated)
	require.Positive(t, applied)
}

// judgeHeld holds what was changed last against what we show and what the vendors hold.
func (o *outage) judgeHeld(t *testing.T, customer string, last map[string]bool, changed []string) {
	t.Helper()
	view, email, held := o.as(t, customer, http.MethodGet, "/v1/preferences/push", nil), o.as(t, customer, http.MethodGet, "/v1/preferences/email", nil), o.vendors(t, customer)
	word := map[bool]string{true: "subscribed", false: "unsubscribed"}
	for _, what := range changed {
		if what == "email" {
			require.Equal(t, word[last[what]], email.text("marketing", "status"), "%s: the last change that holds", customer)
			require.Equal(t, word[last[what]], held.text("crm", "email_marketing"), customer)
			require.Equal(t, last[what], held.text("cmp", "purposes", "email-marketing") == "granted", "%s: %v", customer, held.body)
			continue
		}
		require.Equal(t, last[what], view.at("channels", what, "enabled"), "%s: the last change of %s that holds", customer, what)
		require.Equal(t, word[last[what]], held.text("crm", "channels", what), customer)
		if what == "promotions" {
			require.Equal(t, last[what], held.text("cmp", "purposes", "push-marketing") == "granted", "%s: %v", customer, held.body)
		}
	}
}

// requireNoDrift has everybody compared with what the vendors hold.
func (o *outage) requireNoDrift(t *testing.T) {
	t.Helper()
	worker := "http://" + o.cfg.WorkerAddr
	before := o.scrape(t, worker)
	all := slices.Concat(o.concerned, o.others)
	a := o.asOperator(t, http.MethodPost, "/v1/reconciliations", map[string]any{"customers": all})
	require.Equal(t, http.StatusAccepted, a.status, a.body)
	const checked, found = "accord_reconciliation_customers_checked_total", "accord_drift_found_total"
	eventually(t, 3*time.Minute, func() string {
		if n := o.scrape(t, worker).value(checked) - before.value(checked); n < float64(len(all)) {
			return fmt.Sprintf("%v of %d were compared", n, len(all))
		}
		return ""
	})
	require.Equal(t, before.value(found), o.scrape(t, worker).value(found), "drift")
}

func quantile(of []time.Duration, percent int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)].Round(100 * time.Microsecond)
}
