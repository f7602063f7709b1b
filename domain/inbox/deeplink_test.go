package inbox_test

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
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

func TestAKeyIsASegmentOfAPath(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"order", "...", ".order", "order.", "a..b", "-", "_", strings.Repeat("k", 64)} {
		got, err := inbox.ParseTargetKey(key)
		require.NoError(t, err, key)
		require.Equal(t, inbox.TargetKey(key), got)
	}
	for _, key := range []string{"", ".", "..", "a/b", "a b", strings.Repeat("k", 65)} {
		_, err := inbox.ParseTargetKey(key)
		require.Equal(t, fault.Invalid, fault.KindOf(err), key)
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

// leads says by the plainest means whether a link leads to a pattern: part by part, a variable for one plain segment.
func leads(pattern, link string) bool {
	scheme, path, _ := strings.Cut(pattern, "://")
	toScheme, to, is := strings.Cut(link, "://")
	if end := strings.IndexAny(to, "?#"); end >= 0 {
		to = to[:end]
	}
	want, got := strings.Split(path, "/"), strings.Split(to, "/")
	if !is || !strings.EqualFold(scheme, toScheme) || len(want) != len(got) {
		return false
	}
	for i := range want {
		variable := strings.HasPrefix(want[i], "{")
		if !variable && want[i] != got[i] || variable && (got[i] == "" || got[i] == "." || got[i] == ".." || strings.ContainsAny(got[i], "{}")) {
			return false
		}
	}
	return true
}

// FuzzLinks: a pattern hands out what it says and nothing else, and a catalogue of it and a wider one agrees.
func FuzzLinks(f *testing.F) {
	f.Add("app://orders/{id}", "app://orders/1?x#y")
	f.Add("app://a/{b}/{c}", "app://a/../..")
	f.Add("app://orders/{id}", "APP://orders/%2e%2e")
	f.Add("app://orders/{id}", "javascript://orders/1")
	f.Add("app://orders/{id}", "app://orders/1://x")
	f.Add("https://shop.example/{id}", "https://shop.example@evil.example/x")
	f.Add("\u212aapp://x", "kapp://x")
	f.Fuzz(func(t *testing.T, pattern, link string) {
		p, err := inbox.ParsePattern(pattern)
		if err != nil {
			requireField(t, err, "pattern", "invalid_pattern")
			return
		}
		require.Equal(t, pattern, p.String(), "there is one spelling")
		matches := p.Matches(link)
		if matches && strings.ContainsAny(link, "\n\r\x00\t\\ <>\"`^|") {
			t.Fatalf("%q would hand out %q", pattern, link)
		}
		if matches && !leads(pattern, link) {
			t.Fatalf("%q does not lead to %q", link, pattern)
		}
		for _, scheme := range []string{"javascript:", "data:", "vbscript:", "file:", "blob:"} {
			require.False(t, matches && len(link) >= len(scheme) && strings.EqualFold(link[:len(scheme)], scheme), "%q runs scripts", link)
		}
		if matches {
			u, err := url.Parse(link)
			require.False(t, err == nil && !strings.EqualFold(u.Scheme+"://", pattern[:len(u.Scheme)+3]), "%q has another scheme to browsers", link)
		}
		l := inbox.NewLinks(inbox.LinkTarget{Key: "one", Pattern: p, Active: true})
		target, found := l.Resolve(link)
		require.Equal(t, matches, found)
		require.Equal(t, matches, l.Active(link, noon))
		require.Equal(t, matches, l.StillActive(link, []inbox.TargetKey{"one"}, noon))
		require.Equal(t, matches, target.Key == "one")
	})
}

// FuzzTargetKey: a key can be a segment of a path as it is.
func FuzzTargetKey(f *testing.F) {
	for _, seed := range []string{"sale", "..", "a/b", "a%2fb", "a\n", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := inbox.ParseTargetKey(s)
		if err != nil {
			requireField(t, err, "key", "invalid_key")
			return
		}
		require.Equal(t, s, string(key))
		require.Equal(t, s, url.PathEscape(s))
		require.Equal(t, "/x/"+s, path.Clean("/x/"+s))
	})
}

func TestATargetIsCertainWhileNothingMoreSpecificIsSwitchedOff(t *testing.T) {
	t.Parallel()
	target := func(key, pattern string, active bool) inbox.LinkTarget {
		p, err := inbox.ParsePattern(pattern)
		require.NoError(t, err)
		return inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: active}
	}
	any := target("any", "app://orders/{id}", true)
	for name, tc := range map[string]struct {
		others []inbox.LinkTarget
		want   bool
	}{
		"alone":                          {want: true},
		"more specific, switched off":    {others: []inbox.LinkTarget{target("last", "app://orders/last", false)}},
		"more specific, active":          {others: []inbox.LinkTarget{target("last", "app://orders/last", true)}, want: true},
		"elsewhere":                      {others: []inbox.LinkTarget{target("sale", "app://sale/{id}", false), target("page", "app://orders/{id}/x", false), target("web", "https://orders/last", false)}, want: true},
		"the same, before it, inactive":  {others: []inbox.LinkTarget{target("aaa", "app://orders/{order}", false)}},
		"less specific, switched off":    {others: []inbox.LinkTarget{target("page", "app://orders/{id}", false)}, want: true},
		"the same, after it, and unused": {others: []inbox.LinkTarget{target("zzz", "app://orders/{order}", false)}, want: true},
	} {
		require.Equal(t, tc.want, certain(inbox.NewLinks(append(tc.others, any)...), "any"), name)
	}
	off := any
	off.Active = false
	require.False(t, certain(inbox.NewLinks(off), "any"))
	require.False(t, certain(inbox.NewLinks(), "any"))
	any.PatternAt = noon
	since, ok := inbox.NewLinks(any).CertainSince("any", noon)
	require.True(t, ok)
	require.Equal(t, noon, since, "links from before led to another pattern")
}

func certain(l *inbox.Links, key inbox.TargetKey) bool {
	_, ok := l.CertainSince(key, noon)
	return ok
}

func TestALinkDoesNotGoOverToAnotherTarget(t *testing.T) {
	t.Parallel()
	target := func(key, pattern string, active bool) inbox.LinkTarget {
		p, err := inbox.ParsePattern(pattern)
		require.NoError(t, err)
		return inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: active}
	}
	found := []inbox.TargetKey{"last"}
	wide := target("any", "app://orders/{id}", true)
	still := func(targets ...inbox.LinkTarget) bool {
		return inbox.NewLinks(targets...).StillActive("app://orders/last", found, noon)
	}
	require.True(t, still(wide, target("last", "app://orders/last", true)))
	require.False(t, still(wide, target("last", "app://orders/last", false)), "switched off")
	require.False(t, still(wide), "taken away")
	require.False(t, still(wide, target("last", "app://orders/latest", true)), "moved elsewhere")
	require.True(t, still(wide, target("last", "app://orders/{x}", true), target("new", "app://orders/last", true)), "described better")
	require.False(t, still(wide, target("last", "app://orders/{x}", true), target("new", "app://orders/last", false)), "the better description is switched off")
	require.False(t, inbox.NewLinks(wide).StillActive("orders", found, noon))
}

// TestCertainSaysWhatResolvingWould: a link that was found to lead to a target is active while the target is certain,
// whatever has been put in or switched off since; and a change of a target concerns no link of one it is not related to.
func TestCertainSaysWhatResolvingWould(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		segment := rapid.SampledFrom([]string{"a", "b", "{x}", "{y}"})
		catalogue := map[inbox.TargetKey]inbox.LinkTarget{}
		put := func(key inbox.TargetKey) {
			text := "app://h"
			for i := range rapid.IntRange(0, 2).Draw(t, "length") {
				text += "/" + []string{segment.Draw(t, "segment"), rapid.SampledFrom([]string{"a", "b", "{z}"}).Draw(t, "segment")}[i]
			}
			p, err := inbox.ParsePattern(text)
			require.NoError(t, err)
			catalogue[key] = inbox.LinkTarget{Key: key, Pattern: p, Active: rapid.Bool().Draw(t, "active")}
		}
		all := func() *inbox.Links {
			var list []inbox.LinkTarget
			for _, t := range catalogue {
				list = append(list, t)
			}
			return inbox.NewLinks(list...)
		}
		for _, key := range []inbox.TargetKey{"k1", "k2", "k3"} {
			put(key)
		}
		before := all()
		changed := rapid.SampledFrom([]inbox.TargetKey{"k1", "k2", "k3", "k4"}).Draw(t, "changed")
		if rapid.Bool().Draw(t, "removed") {
			delete(catalogue, changed)
		} else {
			put(changed)
		}
		after := all()
		for _, link := range []string{"app://h", "app://h/a", "app://h/b", "app://h/c", "app://h/a/a", "app://h/a/b", "app://h/c/b", "app://h/c/c"} {
			for _, key := range []inbox.TargetKey{"k1", "k2", "k3", "k4"} {
				was, is := before.StillActive(link, []inbox.TargetKey{key}, noon), after.StillActive(link, []inbox.TargetKey{key}, noon)
				if was != is {
					require.Contains(t, append(after.Related(changed), before.Related(changed)...), key, link)
				}
				if found, ok := before.Resolve(link); ok && found.Key == key && key != changed && certain(after, key) {
					require.True(t, is, "%s led to %s", link, key)
				}
			}
		}
	})
}

func TestTheOrderOfTargetsDoesNotDependOnHowTheyCame(t *testing.T) {
	t.Parallel()
	var targets []inbox.LinkTarget
	for key, pattern := range map[string]string{"a": "app://x/{id}", "b": "app://x", "c": "app://x/y", "d": "app://{no"} {
		if p, err := inbox.ParsePattern(pattern); err == nil {
			targets = append(targets, inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: true})
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		found, ok := inbox.NewLinks(rapid.Permutation(targets).Draw(t, "targets")...).Resolve("app://x/y")
		require.True(t, ok)
		require.Equal(t, inbox.TargetKey("c"), found.Key)
	})
}
