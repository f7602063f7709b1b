package inbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/inbox"
)

func TestAPatternMatchesItsPlaces(t *testing.T) {
	t.Parallel()
	p, err := inbox.ParsePattern("app://orders/{order_id}/items/{item}")
	require.NoError(t, err)
	for link, want := range map[string]bool{
		"app://orders/42/items/7": true, "APP://orders/42/items/7": true, "app://orders/42/items/7?from=mail": true, "app://orders/42/items/7#x": true,
		"app://orders/42/items/%2F": true, "app://orders/42/items": false, "app://orders/42/items/": false, "app://orders//items/7": false,
		"app://orders/../items/7": false, "app://orders/42/items/7/8": false, "app://Orders/42/items/7": false, "https://orders/42/items/7": false,
		"app:orders/42/items/7": false, "app://orders/4 2/items/7": false, "app://orders/4\n2/items/7": false, "": false,
		"app://orders/\\42/items/7": false, "app://orders/42/items/7?a b": false, "app://orders/{x}/items/7": false,
	} {
		require.Equal(t, want, p.Matches(link), link)
	}
}

func TestABadPatternIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "orders", "app:/orders", "App://orders", "javascript://x", "data://x", "file://x", "app://", "app://orders/", "app://{host}/x",
		"app://orders/{}", "app://orders/{a}b", "app://orders/{a}/{a}", "app://orders?x", "app://orders#x", "app://or ders", "app://orders/..", "app://" + strings.Repeat("x", 2048)} {
		_, err := inbox.ParsePattern(s)
		requireField(t, err, "pattern", "invalid_pattern")
	}
}

func TestTheMostSpecificTargetDecides(t *testing.T) {
	t.Parallel()
	target := func(key, pattern string, active bool) inbox.LinkTarget {
		p, err := inbox.ParsePattern(pattern)
		require.NoError(t, err)
		return inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: active}
	}
	l := inbox.NewLinks(target("any", "app://orders/{id}", true), target("last", "app://orders/last", false), target("page", "app://orders/{id}/{page}", true))
	found, ok := l.Resolve("app://orders/last")
	require.True(t, ok)
	require.Equal(t, inbox.TargetKey("last"), found.Key)
	require.False(t, l.Active("app://orders/last", noon), "switching a place off must not let a wider pattern hand it out")
	require.True(t, l.Active("app://orders/1", noon))
	require.Len(t, l.All(), 3)
	_, ok = l.Target("page")
	require.True(t, ok)
}

func TestATargetIsActiveInItsWindow(t *testing.T) {
	t.Parallel()
	p, err := inbox.ParsePattern("app://sale")
	require.NoError(t, err)
	from, until := noon, noon.Add(time.Hour)
	target, err := inbox.NewLinkTarget("sale", p, true, from, until)
	require.NoError(t, err)
	for at, want := range map[time.Time]bool{from.Add(-1): false, from: true, until.Add(-1): true, until: false} {
		require.Equal(t, want, target.ActiveAt(at), at)
	}
	l := inbox.NewLinks(target)
	require.Equal(t, from, l.NextChange(from.Add(-time.Minute)))
	require.Equal(t, until, l.NextChange(from))
	require.True(t, l.NextChange(until).IsZero())
	_, err = inbox.NewLinkTarget("sale", p, true, until, from)
	requireField(t, err, "active_until", "before_start")
}

// What time alone changes is announced by NextChange, and nothing changes before that.
func TestNothingChangesBeforeTheNextChange(t *testing.T) {
	t.Parallel()
	p, err := inbox.ParsePattern("app://sale")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		target := inbox.LinkTarget{Key: "sale", Pattern: p, Active: rapid.Bool().Draw(t, "active")}
		if rapid.Bool().Draw(t, "bounded") {
			target.From = moments().Draw(t, "from")
		}
		if rapid.Bool().Draw(t, "ends") {
			target.Until = moments().Draw(t, "until")
		}
		l, now := inbox.NewLinks(target), moments().Draw(t, "now")
		next, later := l.NextChange(now), moments().Draw(t, "later")
		if later.Before(now) || !next.IsZero() && !later.Before(next) {
			return
		}
		require.Equal(t, l.Active("app://sale", now), l.Active("app://sale", later))
	})
}

func FuzzLinks(f *testing.F) {
	f.Add("app://orders/{id}", "app://orders/1?x#y")
	f.Add("app://a/{b}/{c}", "app://a/../..")
	f.Fuzz(func(t *testing.T, pattern, link string) {
		p, err := inbox.ParsePattern(pattern)
		if err != nil {
			return
		}
		if p.Matches(link) && strings.ContainsAny(link, "\n\r\x00 <>\"") {
			t.Fatalf("%q would hand out %q", pattern, link)
		}
		if q, err := inbox.ParsePattern(p.String()); err != nil || q.Matches(link) != p.Matches(link) {
			t.Fatalf("%q does not come back", pattern)
		}
	})
}
