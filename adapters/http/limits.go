package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"accord/domain/preference"
)

// RateLimits say how often callers may call. What is zero is not limited.
type RateLimits struct {
	Customer RateLimit // each signed-in customer, but for what has a limit of its own
	Changes  RateLimit // a customer's changes of preferences: withdrawals are slowed down, never refused
	Events   RateLimit // batches of events, of each customer, and of each address
	Address  RateLimit // each address from which somebody calls who is not signed in
	Links    RateLimit // each link in an e-mail
	Callers  int       // of each kind, known at a time
}

// slowDown is how long a withdrawal waits for which there is no token.
const slowDown = 500 * time.Millisecond

// limits keeps the buckets. Those of services are theirs to keep: they have tokens with scopes, and publish to millions.
type limits struct {
	customers, changes *buckets[preference.CustomerID]
	events             *buckets[viewerKey]
	addresses          *buckets[netip.Addr]
	links              *buckets[string]
	pause              func(context.Context, time.Duration)
}

// viewerKey is a customer, or else the address of somebody who is not signed in.
type viewerKey struct {
	customer preference.CustomerID
	address  netip.Addr
}

func newLimits(cfg RateLimits, now func() time.Time) (*limits, error) {
	n := cfg.Callers
	if n <= 0 {
		n = defaultCallers
	}
	l := &limits{pause: pause}
	var errs [5]error
	l.customers, errs[0] = newBuckets[preference.CustomerID]("customer", cfg.Customer, n, now)
	l.changes, errs[1] = newBuckets[preference.CustomerID]("changes", cfg.Changes, n, now)
	l.events, errs[2] = newBuckets[viewerKey]("events", cfg.Events, n, now)
	l.addresses, errs[3] = newBuckets[netip.Addr]("address", cfg.Address, n, now)
	l.links, errs[4] = newBuckets[string]("link", cfg.Links, n, now)
	return l, errors.Join(errs[:]...)
}

const defaultCallers = 100_000

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// address of the caller: the connection's, unless a proxy that is trusted names another. Of IPv6 it is the network, since a
// home has one of its own.
func address(g *gin.Context) netip.Addr {
	from, err := netip.ParseAddrPort(g.Request.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := from.Addr()
	if len(g.Request.Header["X-Forwarded-For"]) > 0 || len(g.Request.Header["X-Real-Ip"]) > 0 { // else nobody need be asked
		if a, err = netip.ParseAddr(g.ClientIP()); err != nil {
			return netip.Addr{}
		}
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if network, err := a.Prefix(64); err == nil {
			return network.Addr()
		}
	}
	return a
}

// unlimited operations are asked by those who watch over us, and must answer when it matters most.
var unlimited = []string{"getHealth", "getReadiness", "getMetrics"}

// limit counts the call, against whoever makes it.
func (s *server) limit(g *gin.Context) {
	x, l := exchangeOf(g), s.limits
	switch {
	case x.route != nil && slices.Contains(unlimited, x.route.id):
	case x.route != nil && x.route.id == eventsOperation && l.events != nil:
		key := viewerKey{customer: x.customer}
		if x.customer == "" {
			key.address = address(g)
		}
		counted(g, l.events, key, true)
	case x.changes():
		// In s.change, which knows a withdrawal.
	case x.customer != "":
		counted(g, l.customers, x.customer, true)
	case x.principal.Subject != "":
		// A service.
	case x.route != nil && x.route.id == unsubscribeOperation: // slowed down and never refused, as in limitChange
		if l.links != nil && !l.links.take(g.Param("token")).ok {
			l.pause(g.Request.Context(), slowDown)
		}
	case g.Param("token") != "": // a link: whoever opens it for the person shares addresses with many
		counted(g, l.links, g.Param("token"), true)
	default:
		// What anonymous callers get may be kept by caches, in which one caller's count has no place.
		counted(g, l.addresses, address(g), false)
	}
}

// unsubscribeOperation withdraws.
const unsubscribeOperation = "postUnsubscribe"

// eventsOperation is the one that has a limit of its own.
const eventsOperation = "recordEvents"

// changes reports that a customer asks for a change of preferences.
func (x *exchange) changes() bool { return x.route != nil && x.route.changes && x.customer != "" }

// limitFailure counts a call with credentials that are none, and reports that it has answered.
func (s *server) limitFailure(g *gin.Context) (answered bool) {
	counted(g, s.limits.addresses, address(g), false)
	return g.IsAborted()
}

// limitChange counts a change, and reports that it has answered. One with a withdrawal in it is never refused: while there
// are too many it has to wait a little, so that who sends them in a circle is slowed down and nobody else is.
func (s *server) limitChange(g *gin.Context, c preference.Change) (answered bool) {
	l, x := s.limits, exchangeOf(g)
	if l.changes == nil {
		return false
	}
	if c.Kind() != preference.Withdrawal {
		counted(g, l.changes, x.customer, true)
		return g.IsAborted()
	}
	if v := l.changes.take(x.customer); !v.ok {
		l.pause(g.Request.Context(), slowDown)
	}
	return false
}

// counted takes a token, tells how many there are, and answers 429 when there is none.
func counted[K comparable](g *gin.Context, b *buckets[K], caller K, tell bool) {
	if b == nil {
		return
	}
	v := b.take(caller)
	if tell || !v.ok {
		h := g.Writer.Header()
		h["Ratelimit-Policy"], h["Ratelimit"] = b.policy, b.header(v)
	}
	if v.ok {
		return
	}
	g.Header("Retry-After", strconv.FormatInt(max(1, wholeSeconds(v.wait)), 10))
	Problem{Status: http.StatusTooManyRequests, Code: "rate-limited", Detail: "There were too many calls. Retry-After says in how many seconds there may be more."}.answer(g)
}
