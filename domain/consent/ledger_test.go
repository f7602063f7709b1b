package consent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/consent"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 123456000, time.UTC)

func entry(n int) consent.Entry {
	e := consent.Entry{Event: consent.Requested, At: start.Add(time.Duration(n) * time.Second), Operation: fmt.Sprint("op-", n), Number: int64(n), Kind: "grant",
		Actor: consent.Actor{Type: "customer", ID: "ada"}, Origin: consent.Origin{Source: "app", Installation: "i-1"},
		Before: map[string]any{"push.enabled": false}, After: map[string]any{"push.enabled": true}, Version: int64(n)}
	if n%2 == 0 {
		e.Wording = &consent.Wording{ID: "w", Locale: "en"}
		e.Reason = &consent.Reason{Code: "refused", Target: "crm"}
		e.NotUndone = []string{"crm:email"}
	}
	return e
}

var (
	key    = consent.Key(sha256.Sum256([]byte("a key")))
	others = consent.Key(sha256.Sum256([]byte("another key")))
)

func empty(id string) consent.Chain { return consent.Chain{ID: id, Key: key} }

func chain(t require.TestingT, id string, n int) ([]consent.Link, consent.Chain) {
	c := empty(id)
	var links []consent.Link
	for i := range n {
		l, next, err := c.Append(entry(i + 1))
		require.NoError(t, err)
		links, c = append(links, l), next
	}
	return links, c
}

func read(l consent.Link) (consent.Entry, error) { return l.Read(key) }

// verify reads the links as the store would: in the order of Seq.
func verify(links []consent.Link, c consent.Chain) []consent.Finding {
	links = slices.Clone(links)
	slices.SortStableFunc(links, func(a, b consent.Link) int { return int(a.Seq - b.Seq) })
	v := consent.NewVerifier("ch_ada", read)
	for _, l := range links {
		v.Check(l)
	}
	return v.Finish(c.Head)
}

func seqs(findings []consent.Finding) []int64 {
	var out []int64
	for _, f := range findings {
		out = append(out, f.Seq)
	}
	return out
}

// rehash makes a link consistent in itself, as a forger who knows the recipe would: it appends what the link says to
// the head that the link claims to follow.
func rehash(t require.TestingT, l consent.Link, edit func(*consent.Entry)) consent.Link {
	e, err := read(l)
	require.NoError(t, err)
	edit(&e)
	forged, _, err := consent.Chain{ID: l.Chain, Key: key, Head: consent.Head{Seq: l.Seq - 1, Hash: l.Prev}}.Append(e)
	require.NoError(t, err)
	return forged
}

func TestAppend(t *testing.T) {
	t.Parallel()
	links, c := chain(t, "ch_ada", 3)
	for i, l := range links {
		require.Equal(t, int64(i+1), l.Seq)
		require.Equal(t, "ch_ada", l.Chain)
		require.NotContains(t, string(l.Body), "push.enabled", "what it says is sealed")
		e, err := read(l)
		require.NoError(t, err)
		require.Equal(t, entry(i+1), e)
		require.Equal(t, []any{e.Operation, e.Event, e.At}, []any{l.Operation, l.Event, l.At})
	}
	require.Equal(t, consent.Hash{}, links[0].Prev)
	require.Equal(t, links[0].Hash, links[1].Prev)
	require.Equal(t, consent.Head{Seq: 3, Hash: links[2].Hash}, c.Head)

	// The store keeps microseconds, and what is hashed must be what is stored.
	e := entry(1)
	e.At = time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.FixedZone("CET", 3600))
	l, _, err := empty("ch_ada").Append(e)
	require.NoError(t, err)
	require.Equal(t, start, l.At)

	_, same, err := consent.Chain{ID: "ch_ada"}.Append(e)
	require.ErrorIs(t, err, consent.ErrNoKey, "never in clear")
	require.Zero(t, same.Head)

	e.After = map[string]any{"x": make(chan int)}
	_, same, err = c.Append(e)
	require.Error(t, err)
	require.Equal(t, c, same)
}

// The recipes are a promise to everybody who keeps hashes elsewhere: a change of one breaks every chain written by it.
func TestTheRecipesOfTheHashStay(t *testing.T) {
	t.Parallel()
	at := consent.Chain{ID: "ch_ada", Key: key, Head: consent.Head{Seq: 6, Hash: sha256.Sum256([]byte("before"))}}
	l, _, err := at.Append(entry(2))
	require.NoError(t, err)
	require.Equal(t, consent.Sealed, l.Form)
	require.Equal(t, wantHash, fmt.Sprintf("%x", l.Hash))
	require.Equal(t, recipe(l), l.Hash)
	e, err := read(l)
	require.NoError(t, err)
	require.Equal(t, entry(2), e)

	l, _, err = at.Erase(erasure)
	require.NoError(t, err)
	require.Equal(t, consent.Open, l.Form)
	require.Equal(t, wantErased, string(l.Body))
	require.Equal(t, recipe(l), l.Hash)
}

// What was written by the first recipe, before entries were sealed, is as it was and goes on to be verified.
func TestChainsByTheFirstRecipeHold(t *testing.T) {
	t.Parallel()
	links := firstRecipe(t)
	check := func(id string, links []consent.Link, head consent.Head) []consent.Finding {
		v := consent.NewVerifier(id, read)
		for _, l := range links {
			v.Check(l)
		}
		return v.Finish(head)
	}
	head := consent.Head{Seq: 4, Hash: links[3].Hash}
	require.Empty(t, check("ada", links, head))
	for i, l := range links {
		require.Equal(t, recipe(l), l.Hash)
		e, err := l.Read(consent.Key{})
		require.NoError(t, err)
		require.Equal(t, entry(i+1), e)
		l.Body = bytes.Replace(l.Body, []byte("true"), []byte("null"), 1)
		require.Equal(t, []int64{l.Seq}, seqs(check("ada", slices.Concat(links[:i], []consent.Link{l}, links[i+1:]), head)))
		for _, form := range []consent.Form{consent.Sealed, consent.Open, 0, 4} {
			l := links[i]
			l.Form = form
			require.Contains(t, seqs(check("ada", slices.Concat(links[:i], []consent.Link{l}, links[i+1:]), head)), l.Seq, form)
		}
	}
	// Such a chain goes on sealed, and not back.
	sealed, c, err := consent.Chain{ID: "ada", Key: key, Head: head}.Append(entry(5))
	require.NoError(t, err)
	require.Empty(t, check("ada", append(slices.Clone(links), sealed), c.Head))
	back := links[3]
	back.Seq, back.Prev = 6, sealed.Hash
	back.Hash = recipe(back)
	require.Equal(t, []int64{6}, seqs(check("ada", append(slices.Clone(links), sealed, back), consent.Head{Seq: 6, Hash: back.Hash})))
}

func firstRecipe(t *testing.T) []consent.Link {
	t.Helper()
	raw, err := os.ReadFile("testdata/chain-v1.json")
	require.NoError(t, err)
	var rows []struct {
		Chain, Operation, Body, Prev, Hash string
		Event                              consent.Event
		Seq                                int64
		At                                 time.Time
	}
	require.NoError(t, json.Unmarshal(raw, &rows))
	var out []consent.Link
	for _, r := range rows {
		l := consent.Link{Chain: r.Chain, Seq: r.Seq, Form: consent.Plain, Operation: r.Operation, Event: r.Event, At: r.At, Body: []byte(r.Body)}
		for text, hash := range map[string]*consent.Hash{r.Prev: &l.Prev, r.Hash: &l.Hash} {
			_, err := hex.Decode(hash[:], []byte(text))
			require.NoError(t, err)
		}
		out = append(out, l)
	}
	return out
}

func TestAnUntouchedChainHasNoFindings(t *testing.T) {
	t.Parallel()
	require.Empty(t, consent.NewVerifier("ch_ada", read).Finish(consent.Head{}))
	rapid.Check(t, func(t *rapid.T) {
		links, c := chain(t, "ch_ada", rapid.IntRange(0, 12).Draw(t, "length"))
		require.Empty(t, verify(links, c))
	})
}

func TestTamperingIsFoundWhereItHappened(t *testing.T) {
	t.Parallel()
	const n = 6
	edits := map[string]func(*consent.Link){
		"chain":     func(l *consent.Link) { l.Chain = "ch_grace" },
		"form":      func(l *consent.Link) { l.Form = consent.Plain },
		"operation": func(l *consent.Link) { l.Operation += "x" },
		"event":     func(l *consent.Link) { l.Event = consent.Applied },
		"time":      func(l *consent.Link) { l.At = l.At.Add(time.Microsecond) },
		"nanos":     func(l *consent.Link) { l.At = l.At.Add(time.Nanosecond) },
		"body":      func(l *consent.Link) { l.Body[len(l.Body)/2] ^= 1 },
		"a space":   func(l *consent.Link) { l.Body = append([]byte(" "), l.Body...) },
		"no body":   func(l *consent.Link) { l.Body = nil },
		"prev":      func(l *consent.Link) { l.Prev[0] ^= 1 },
	}
	for name, edit := range edits {
		for at := range n {
			links, c := chain(t, "ch_ada", n)
			links[at].Body = slices.Clone(links[at].Body)
			edit(&links[at])
			for _, f := range verify(links, c) {
				require.Equal(t, int64(at+1), f.Seq, "%s of #%d: %v", name, at+1, f)
				require.Equal(t, "ch_ada", f.Chain)
			}
			require.NotEmpty(t, verify(links, c), "%s of #%d", name, at+1)
		}
	}
	for at := range n {
		links, c := chain(t, "ch_ada", n)
		links[at].Hash[31] ^= 1
		found := seqs(verify(links, c))
		require.Equal(t, int64(at+1), found[0], "the hash of #%d", at+1)

		// A consistent forgery shows at the entry that follows what was there before.
		links, c = chain(t, "ch_ada", n)
		links[at] = rehash(t, links[at], func(e *consent.Entry) { e.After["push.enabled"] = false })
		require.Equal(t, []int64{min(int64(at+2), n)}, seqs(verify(links, c)), "forged #%d", at+1)
	}
}

var labels = map[consent.Form]string{consent.Plain: "accord/ledger/v1", consent.Sealed: "accord/ledger/v2/sealed", consent.Open: "accord/ledger/v2/open"}

// recipe is the hash as it is documented, told again: every part with its length in front.
func recipe(l consent.Link) consent.Hash {
	var image []byte
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	for _, part := range [][]byte{[]byte(labels[l.Form]), []byte(l.Chain), number(l.Seq), []byte(l.Operation), []byte(l.Event),
		number(l.At.UnixMicro()), l.Body, l.Prev[:]} {
		image = append(append(image, number(int64(len(part)))...), part...)
	}
	return sha256.Sum256(image)
}

// Who lists entries by their columns must not be shown something else than who reads their content, even when the
// forger has rewritten the chain and its head.
func TestColumnsThatDisagreeWithTheContentAreFound(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*consent.Link){
		"operation":    func(l *consent.Link) { l.Operation = "op-9" },
		"event":        func(l *consent.Link) { l.Event = consent.Applied },
		"time":         func(l *consent.Link) { l.At = l.At.Add(time.Hour) },
		"another text": func(l *consent.Link) { l.Body = l.Body[:len(l.Body)-1] },
		"an open body": func(l *consent.Link) { l.Form, l.Body = consent.Open, []byte("{}") },
		"a plain body": func(l *consent.Link) { l.Form, l.Body = consent.Plain, []byte("{") },
	} {
		links, _ := chain(t, "ch_ada", 1)
		edit(&links[0])
		links[0].Hash = recipe(links[0])
		require.Equal(t, []int64{1}, seqs(verify(links, consent.Chain{Head: consent.Head{Seq: 1, Hash: links[0].Hash}})), name)
	}
}

func TestRemovedInsertedSwappedAndTruncatedEntriesAreFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 8).Draw(t, "length")
		at := rapid.IntRange(0, n-2).Draw(t, "at")
		links, c := chain(t, "ch_ada", n)
		first := func(links []consent.Link) int64 {
			found := verify(links, c)
			require.NotEmpty(t, found)
			return found[0].Seq
		}
		seq := int64(at + 1)
		without := slices.Delete(slices.Clone(links), at, at+1)
		require.Equal(t, []int64{seq}, seqs(verify(without, c)), "removed")

		renumbered := slices.Clone(without)
		for i := range renumbered {
			renumbered[i].Seq = int64(i + 1)
		}
		require.Equal(t, seq, first(renumbered), "removed and renumbered")

		require.Equal(t, []int64{seq}, seqs(verify(links[:at], c)), "truncated")

		swapped := slices.Clone(links)
		swapped[at], swapped[at+1] = swapped[at+1], swapped[at]
		swapped[at].Seq, swapped[at+1].Seq = swapped[at+1].Seq, swapped[at].Seq
		require.Equal(t, seq, first(swapped), "swapped")

		twice := slices.Insert(slices.Clone(links), at, links[at])
		require.Equal(t, []int64{seq}, seqs(verify(twice, c)), "doubled")
		require.Contains(t, verify(twice, c)[0].Problem, "twice")

		forged, _, err := consent.Chain{ID: "ch_ada", Key: key, Head: consent.Head{Seq: int64(at), Hash: links[at].Prev}}.Append(entry(99))
		require.NoError(t, err)
		inserted := slices.Insert(slices.Clone(links), at, forged)
		for i := at + 1; i < len(inserted); i++ {
			inserted[i].Seq++
		}
		require.Equal(t, seq+1, first(inserted), "inserted: what it displaced no longer fits")

		extended, further, err := c.Append(entry(99))
		require.NoError(t, err)
		more, _, err := further.Append(entry(100))
		require.NoError(t, err)
		require.Equal(t, []int64{int64(n + 1)}, seqs(verify(append(slices.Clone(links), extended, more), c)), "appended behind our back")

		theirs, _ := chain(t, "ch_grace", n)
		foreign := slices.Clone(links)
		foreign[at] = theirs[at]
		require.Equal(t, seq, first(foreign), "taken from another's chain")

		require.Equal(t, []int64{1}, seqs(verify(nil, c)), "all gone")
	})
}

func TestAFindingReadsWell(t *testing.T) {
	t.Parallel()
	links, c := chain(t, "ch_ada", 3)
	found := verify(links[:2], c)
	require.Equal(t, "ch_ada #3: removed: the chain should end at #3", found[0].String())
}

var erasure = consent.Erasure{ID: "op-9", By: consent.Actor{Type: "customer", ID: "ada"}, At: start, RequestedAt: start, Cause: "asked",
	Outcomes: map[string]string{"crm": "erased", "cmp": "erased"}}

// Of an erased person the chain says that, and can be checked to its end without the key.
func TestAnErasedChainEndsWithWhatAnybodyCanRead(t *testing.T) {
	t.Parallel()
	links, c := chain(t, "ch_ada", 3)
	last, c, err := c.Erase(erasure)
	require.NoError(t, err)
	links = append(links, last)
	e, err := last.Read(consent.Key{})
	require.NoError(t, err)
	require.Equal(t, consent.Actor{Type: "customer"}, e.Actor, "not which customer")
	require.NotContains(t, string(last.Body), "ada")

	without := func(links []consent.Link) []consent.Finding {
		v := consent.NewVerifier("ch_ada", nil)
		for _, l := range links {
			v.Check(l)
		}
		require.True(t, v.Erased())
		return v.Finish(c.Head)
	}
	require.Empty(t, without(links))
	require.Empty(t, verify(links, c))
	for i := range links {
		changed := slices.Clone(links)
		changed[i].Body = append(slices.Clone(changed[i].Body), 0)
		require.Equal(t, []int64{int64(i + 1)}, seqs(without(changed)))
	}
	after, further, err := c.Append(entry(5))
	require.NoError(t, err)
	require.Equal(t, []int64{5}, seqs(verify(append(links, after), further)), "nothing comes after it")
}

func TestASealedEntryOpensWithItsKeyAndNoOther(t *testing.T) {
	t.Parallel()
	links, _ := chain(t, "ch_ada", 2)
	_, err := links[0].Read(others)
	require.ErrorIs(t, err, consent.ErrSealed)
	mine, err := key.Entry(links[0])
	require.NoError(t, err)
	next, err := key.Entry(links[1])
	require.NoError(t, err)
	require.NotEqual(t, mine, next)
	e, err := links[0].ReadWith(mine)
	require.NoError(t, err)
	require.Equal(t, entry(1), e)
	_, err = links[0].ReadWith(next)
	require.ErrorIs(t, err, consent.ErrSealed)
	for i := range links[0].Body {
		l := links[0]
		l.Body = slices.Clone(l.Body)
		l.Body[i] ^= 1
		_, err := read(l)
		require.ErrorIs(t, err, consent.ErrSealed, "byte %d", i)
	}
	for n := range len(links[0].Body) {
		l := links[0]
		l.Body = l.Body[:n]
		_, err := read(l)
		require.ErrorIs(t, err, consent.ErrSealed)
	}
	require.Equal(t, "*** *** ***", fmt.Sprintf("%v %s %#v", key, key, key))
}

// A transaction that is undone and done again with something else must not use a key for two texts.
func TestTwoTextsInTheSamePlaceHaveKeysOfTheirOwn(t *testing.T) {
	t.Parallel()
	one, _, err := empty("ch_ada").Append(entry(1))
	require.NoError(t, err)
	again, _, err := empty("ch_ada").Append(entry(1))
	require.NoError(t, err)
	require.Equal(t, one, again)
	two, _, err := empty("ch_ada").Append(entry(2))
	require.NoError(t, err)
	elsewhere, _, err := empty("ch_grace").Append(entry(1))
	require.NoError(t, err)
	seen := map[consent.EntryKey]bool{}
	for _, l := range []consent.Link{one, two, elsewhere} {
		k, err := key.Entry(l)
		require.NoError(t, err)
		require.False(t, seen[k])
		seen[k] = true
	}
}

// GCM alone would open a ciphertext under a second key, made for it, to another text. The commitment refuses that key.
func TestASealedEntryIsCommittedToItsKey(t *testing.T) {
	t.Parallel()
	l, _, err := empty("ch_ada").Append(entry(1))
	require.NoError(t, err)
	k, err := key.Entry(l)
	require.NoError(t, err)
	l.Body = slices.Clone(l.Body)
	l.Body[16] ^= 1 // the first byte of the commitment; the ciphertext and its tag are whole
	_, err = l.ReadWith(k)
	require.ErrorIs(t, err, consent.ErrSealed)
}

const (
	wantErased = `{"event":"erased","at":"2026-03-01T08:00:00.123456Z","operation":"op-9","number":0,"kind":"erasure","actor":{"type":"customer","id":""},` +
		`"origin":{"source":""},"cause":"asked","before":null,"after":null,"version":0,"outcomes":{"cmp":"erased","crm":"erased"},"requested_at":"2026-03-01T08:00:00.123456Z"}`
	wantHash = "fcdcd6e8ee1f8f4190f5eae833d22cf37b886241e6e4f0372b7330a2174c8d2c"
)
