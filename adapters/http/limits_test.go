package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"accord/domain/preference"
)

// scarce never gives anything back while a test runs.
func scarce(burst int) RateLimit { return RateLimit{Rate: 1e-6, Burst: burst} }

func limited(l RateLimits) func(*Config) { return func(c *Config) { c.Limits = l } }

func (a *api) from(address, method, target, token string) answer {
	a.t.Helper()
	req := httptest.NewRequest(method, target, nil)
	req.RemoteAddr = address
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return a.send(req)
}

func TestEachCustomerHasTheirOwnLimit(t *testing.T) {
	t.Parallel()
	a := newAPI(t, limited(RateLimits{Customer: scarce(3), Address: scarce(1)}))
	for i := range 3 {
		got := a.call("GET", "/v1/preferences", "ada", "").is(200)
		require.Equal(t, `"customer";q=3;w=3000000`, got.header.Get("RateLimit-Policy"))
		require.Equal(t, `"customer";r=`+strconv.Itoa(2-i), strings.Split(got.header.Get("RateLimit"), ";t=")[0])
	}
	got := a.call("GET", "/v1/inbox", "ada", "").is(429)
	require.Equal(t, "rate-limited", got.problem().Code)
	after, err := strconv.Atoi(got.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, after)
	require.Equal(t, `"customer";r=0`, strings.Split(got.header.Get("RateLimit"), ";t=")[0])
	a.call("GET", "/v1/preferences", "grace", "").is(200)
	for range 5 {
		a.call("GET", "/v1/operations", "ops", "").is(200) // services are not limited
		a.call("GET", "/healthz", "", "").is(200)          // nor is who watches over us
	}
}

func TestAnonymousCallersAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	a := newAPI(t, limited(RateLimits{Address: scarce(2)}))
	for range 2 {
		got := a.from("192.0.2.1:1000", "GET", "/v1/inbox", "").is(200)
		require.Empty(t, got.header.Get("RateLimit"), "what caches keep says nothing about one caller")
	}
	require.Equal(t, `"address";q=2;w=2000000`, a.from("192.0.2.1:2000", "GET", "/v1/inbox", "").is(429).header.Get("RateLimit-Policy"))
	a.from("192.0.2.1:2000", "GET", "/nothing", "").is(429)
	a.from("192.0.2.2:1000", "GET", "/v1/inbox", "").is(200)
	a.from("[2001:db8::1]:1", "GET", "/v1/inbox", "").is(200)
	a.from("[2001:db8::2]:1", "GET", "/v1/inbox", "").is(200)
	a.from("[2001:db8::3]:1", "GET", "/v1/inbox", "").is(429) // one home is one network
	a.from("[2001:db8:0:1::3]:1", "GET", "/v1/inbox", "").is(200)
	a.from("192.0.2.1:1000", "GET", "/v1/inbox", "ada").is(200) // the signed-in neighbours are not
}

func TestAProxyIsBelievedWhenItIsTrusted(t *testing.T) {
	t.Parallel()
	ask := func(a *api, from, client string) int {
		req := httptest.NewRequest("GET", "/v1/inbox", nil)
		req.RemoteAddr = from
		req.Header.Set("X-Forwarded-For", client)
		return a.send(req).status
	}
	trusting := newAPI(t, limited(RateLimits{Address: scarce(1)}), func(c *Config) { c.Proxies = []string{"10.0.0.0/8"} })
	require.Equal(t, []int{200, 200, 429}, []int{ask(trusting, "10.0.0.1:1", "192.0.2.1"), ask(trusting, "10.0.0.1:1", "192.0.2.2"), ask(trusting, "10.0.0.2:1", "192.0.2.1")})
	require.Equal(t, []int{200, 429}, []int{ask(trusting, "192.0.2.9:1", "192.0.2.3"), ask(trusting, "192.0.2.9:1", "192.0.2.4")}, "anybody else is who they are")
	wary := newAPI(t, limited(RateLimits{Address: scarce(1)}))
	require.Equal(t, []int{200, 429}, []int{ask(wary, "10.0.0.1:1", "192.0.2.1"), ask(wary, "10.0.0.1:1", "192.0.2.2")})
}

func TestTokensThatAreNoneAreCountedAgainstTheAddress(t *testing.T) {
	t.Parallel()
	a := newAPI(t, limited(RateLimits{Address: scarce(3)}))
	a.from("192.0.2.1:1", "GET", "/v1/preferences", "guess-1").is(401)
	a.from("192.0.2.1:1", "GET", "/v1/preferences", "").is(401)
	a.from("192.0.2.1:1", "GET", "/v1/inbox", "guess-2").is(401)
	a.from("192.0.2.1:1", "GET", "/v1/preferences", "guess-3").is(429)
	a.from("192.0.2.1:1", "GET", "/v1/preferences", "").is(429)
	a.from("192.0.2.1:1", "GET", "/v1/preferences", "ada").is(200)
}

func TestChangesHaveALimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	a := newAPI(t).withPhone("ada")
	limits := limited(RateLimits{Customer: scarce(1), Changes: scarce(1)})
	b := newAPI(t, func(c *Config) { c.Preferences, c.Operators = a.app, a.app }, limits)
	b.call("GET", "/v1/preferences", "ada", "").is(200)
	b.call("GET", "/v1/preferences", "ada", "").is(429)
	got := b.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":true}`).is(200)
	require.Equal(t, `"changes";r=0`, strings.Split(got.header.Get("RateLimit"), ";t=")[0])
	b.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":true}`).is(429)
	b.call("PATCH", "/v1/preferences/push", "ada", `{"enabled":false}`).is(200)
}

// TestAWithdrawalIsSlowedDownAndNeverRefused. To see it fail, let limitChange count it like any other.
func TestAWithdrawalIsSlowedDownAndNeverRefused(t *testing.T) {
	t.Parallel()
	l, err := newLimits(RateLimits{Changes: scarce(1)}, time.Now)
	require.NoError(t, err)
	var waited []time.Duration
	l.pause = func(_ context.Context, d time.Duration) { waited = append(waited, d) }
	s, off, on := &server{limits: l}, false, true
	withdrawal, err := preference.SwitchPush(&off, nil, nil)
	require.NoError(t, err)
	grant, err := preference.SwitchPush(&on, nil, nil)
	require.NoError(t, err)
	ask := func(c preference.Change) (refused bool) {
		g, _ := gin.CreateTestContext(httptest.NewRecorder())
		g.Request = httptest.NewRequest("PATCH", "/v1/preferences/push", nil)
		g.Set(exchangeKey, &exchange{customer: "ada"})
		return s.limitChange(g, c)
	}
	require.False(t, ask(withdrawal))
	require.Empty(t, waited)
	require.True(t, ask(grant))
	for range 3 {
		require.False(t, ask(withdrawal))
	}
	require.Equal(t, []time.Duration{slowDown, slowDown, slowDown}, waited)
}

func TestEventsHaveALimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	a := newAPI(t, limited(RateLimits{Events: scarce(1)}))
	events := `{"events":[{"id":"e1","type":"inbox_opened","at":"2026-05-04T10:00:00Z"}]}`
	a.call("POST", "/v1/events", "ada", events).is(200)
	a.call("POST", "/v1/events", "ada", events).is(429)
	a.call("GET", "/v1/inbox", "ada", "").is(200)
	a.call("POST", "/v1/events", "grace", events).is(200)
	const installation = "Accord-Installation-Id: 8e03978e-40d5-43e8-bc93-6894a57f9324"
	a.call("POST", "/v1/events", "", events, installation).is(200)
	a.call("POST", "/v1/events", "", events, strings.Replace(installation, "8e", "9e", 1)).is(429) // an installation is made up easily
}

func TestBucketsFillUpAgain(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	b, err := newBuckets[string]("x", RateLimit{Rate: 2, Burst: 4}, 100, func() time.Time { return now })
	require.NoError(t, err)
	for range 4 {
		require.True(t, b.take("ada").ok)
	}
	v := b.take("ada")
	require.Equal(t, verdict{wait: 500 * time.Millisecond, refill: 2 * time.Second}, v)
	require.Equal(t, []string{`"x";r=0;t=2`}, b.header(v))
	require.Equal(t, []string{`"x";q=4;w=2`}, b.policy)
	now = now.Add(500 * time.Millisecond)
	require.True(t, b.take("ada").ok)
	require.False(t, b.take("ada").ok)
	now = now.Add(time.Hour)
	require.InDelta(t, 3, b.take("ada").left, 1e-9, "no more than the bucket holds")
	off, err := newBuckets[string]("x", RateLimit{}, 100, time.Now)
	require.NoError(t, err)
	require.Nil(t, off)
}

func TestBucketsKnowOnlySoManyCallers(t *testing.T) {
	t.Parallel()
	b, err := newBuckets[int]("x", scarce(1), 2*bucketShards, time.Now)
	require.NoError(t, err)
	for caller := range 100 * bucketShards {
		b.take(caller)
	}
	known := 0
	for _, shard := range b.shards {
		known += shard.Len()
	}
	require.LessOrEqual(t, known, 2*bucketShards)
	require.False(t, b.take(100*bucketShards-1).ok, "the latest are known")
}

func TestABucketGivesWhatItHoldsHoweverManyAskAtOnce(t *testing.T) {
	t.Parallel()
	b, err := newBuckets[string]("x", scarce(50), 1000, time.Now)
	require.NoError(t, err)
	var given atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				if b.take("ada").ok {
					given.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 50, given.Load())
}

func TestEveryOperationThatIsLimitedSaysSo(t *testing.T) {
	t.Parallel()
	c, err := ownContract()
	require.NoError(t, err)
	for name, r := range c.routes {
		if r.access != forAnyone && r.access != forService {
			require.NotNil(t, r.operation.Responses.Status(http.StatusTooManyRequests), "%s does not name 429 in the contract", name)
		}
	}
}

// BenchmarkLimits is what counting costs a request, by callers of whom many call at once.
func BenchmarkLimits(b *testing.B) {
	for name, callers := range map[string]uint64{"one caller": 1, "many callers": 50_000} {
		b.Run(name, func(b *testing.B) {
			buckets, err := newBuckets[preference.CustomerID]("customer", RateLimit{Rate: 1e9, Burst: 1e9}, 100_000, time.Now)
			require.NoError(b, err)
			ids := make([]preference.CustomerID, callers)
			for i := range ids {
				ids[i] = preference.CustomerID("customer-" + strconv.Itoa(i))
			}
			var next atomic.Uint64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					buckets.header(buckets.take(ids[next.Add(7919)%callers]))
				}
			})
		})
	}
}
