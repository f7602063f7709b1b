package consent_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
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

func chain(t require.TestingT, customer string, n int) ([]consent.Link, consent.Head) {
	var head consent.Head
	var links []consent.Link
	for i := range n {
		l, next, err := head.Append(customer, entry(i+1))
		require.NoError(t, err)
		links, head = append(links, l), next
	}
	return links, head
}

// verify reads the links as the store would: in the order of Seq.
func verify(links []consent.Link, head consent.Head) []consent.Finding {
	links = slices.Clone(links)
	slices.SortStableFunc(links, func(a, b consent.Link) int { return int(a.Seq - b.Seq) })
	v := consent.NewVerifier("ada")
	for _, l := range links {
		v.Check(l)
	}
	return v.Finish(head)
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
	e, err := l.Entry()
	require.NoError(t, err)
	edit(&e)
	forged, _, err := consent.Head{Seq: l.Seq - 1, Hash: l.Prev}.Append(l.Customer, e)
	require.NoError(t, err)
	return forged
}

func TestAppend(t *testing.T) {
	t.Parallel()
	links, head := chain(t, "ada", 3)
	for i, l := range links {
		require.Equal(t, int64(i+1), l.Seq)
		require.Equal(t, "ada", l.Customer)
		e, err := l.Entry()
		require.NoError(t, err)
		require.Equal(t, entry(i+1), e)
		require.Equal(t, []any{e.Operation, e.Event, e.At}, []any{l.Operation, l.Event, l.At})
	}
	require.Equal(t, consent.Hash{}, links[0].Prev)
	require.Equal(t, links[0].Hash, links[1].Prev)
	require.Equal(t, consent.Head{Seq: 3, Hash: links[2].Hash}, head)

	// The store keeps microseconds, and what is hashed must be what is stored.
	e := entry(1)
	e.At = time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.FixedZone("CET", 3600))
	l, _, err := consent.Head{}.Append("ada", e)
	require.NoError(t, err)
	require.Equal(t, start, l.At)

	e.After = map[string]any{"x": make(chan int)}
	_, same, err := head.Append("ada", e)
	require.Error(t, err)
	require.Equal(t, head, same)
}

// The recipe is a promise to everybody who keeps hashes elsewhere: a change of it breaks every chain ever written.
func TestTheRecipeOfTheHashStays(t *testing.T) {
	t.Parallel()
	l, _, err := consent.Head{Seq: 6, Hash: sha256.Sum256([]byte("before"))}.Append("ada", entry(2))
	require.NoError(t, err)
	require.Equal(t, wantBody, string(l.Body))
	require.Equal(t, wantHash, fmt.Sprintf("%x", l.Hash))
	require.Equal(t, recipe(l), l.Hash)
}

func TestAnUntouchedChainHasNoFindings(t *testing.T) {
	t.Parallel()
	require.Empty(t, consent.NewVerifier("ada").Finish(consent.Head{}))
	rapid.Check(t, func(t *rapid.T) {
		links, head := chain(t, "ada", rapid.IntRange(0, 12).Draw(t, "length"))
		require.Empty(t, verify(links, head))
	})
}

func TestTamperingIsFoundWhereItHappened(t *testing.T) {
	t.Parallel()
	const n = 6
	edits := map[string]func(*consent.Link){
		"customer":  func(l *consent.Link) { l.Customer = "grace" },
		"operation": func(l *consent.Link) { l.Operation += "x" },
		"event":     func(l *consent.Link) { l.Event = consent.Applied },
		"time":      func(l *consent.Link) { l.At = l.At.Add(time.Microsecond) },
		"nanos":     func(l *consent.Link) { l.At = l.At.Add(time.Nanosecond) },
		"body":      func(l *consent.Link) { l.Body = []byte(strings.Replace(string(l.Body), `"app"`, `"crm"`, 1)) },
		"a space":   func(l *consent.Link) { l.Body = append([]byte(" "), l.Body...) },
		"no body":   func(l *consent.Link) { l.Body = nil },
		"prev":      func(l *consent.Link) { l.Prev[0] ^= 1 },
	}
	for name, edit := range edits {
		for at := range n {
			links, head := chain(t, "ada", n)
			links[at].Body = slices.Clone(links[at].Body)
			edit(&links[at])
			for _, f := range verify(links, head) {
				require.Equal(t, int64(at+1), f.Seq, "%s of #%d: %v", name, at+1, f)
				require.Equal(t, "ada", f.Customer)
			}
			require.NotEmpty(t, verify(links, head), "%s of #%d", name, at+1)
		}
	}
	for at := range n {
		links, head := chain(t, "ada", n)
		links[at].Hash[31] ^= 1
		found := seqs(verify(links, head))
		require.Equal(t, int64(at+1), found[0], "the hash of #%d", at+1)

		// A consistent forgery shows at the entry that follows what was there before.
		links, head = chain(t, "ada", n)
		links[at] = rehash(t, links[at], func(e *consent.Entry) { e.After["push.enabled"] = false })
		require.Equal(t, []int64{min(int64(at+2), n)}, seqs(verify(links, head)), "forged #%d", at+1)
	}
}

// recipe is the hash as it is documented, told again: every part with its length in front.
func recipe(l consent.Link) consent.Hash {
	var image []byte
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	for _, part := range [][]byte{[]byte("accord/ledger/v1"), []byte(l.Customer), number(l.Seq), []byte(l.Operation), []byte(l.Event),
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
		"operation":       func(l *consent.Link) { l.Operation = "op-9" },
		"event":           func(l *consent.Link) { l.Event = consent.Applied },
		"time":            func(l *consent.Link) { l.At = l.At.Add(time.Hour) },
		"not JSON at all": func(l *consent.Link) { l.Body = []byte("{") },
	} {
		links, _ := chain(t, "ada", 1)
		edit(&links[0])
		links[0].Hash = recipe(links[0])
		require.Equal(t, []int64{1}, seqs(verify(links, consent.Head{Seq: 1, Hash: links[0].Hash})), name)
	}
}

func TestRemovedInsertedSwappedAndTruncatedEntriesAreFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 8).Draw(t, "length")
		at := rapid.IntRange(0, n-2).Draw(t, "at")
		links, head := chain(t, "ada", n)
		first := func(links []consent.Link) int64 {
			found := verify(links, head)
			require.NotEmpty(t, found)
			return found[0].Seq
		}
		seq := int64(at + 1)
		without := slices.Delete(slices.Clone(links), at, at+1)
		require.Equal(t, []int64{seq}, seqs(verify(without, head)), "removed")

		renumbered := slices.Clone(without)
		for i := range renumbered {
			renumbered[i].Seq = int64(i + 1)
		}
		require.Equal(t, seq, first(renumbered), "removed and renumbered")

		require.Equal(t, []int64{seq}, seqs(verify(links[:at], head)), "truncated")

		swapped := slices.Clone(links)
		swapped[at], swapped[at+1] = swapped[at+1], swapped[at]
		swapped[at].Seq, swapped[at+1].Seq = swapped[at+1].Seq, swapped[at].Seq
		require.Equal(t, seq, first(swapped), "swapped")

		twice := slices.Insert(slices.Clone(links), at, links[at])
		require.Equal(t, []int64{seq}, seqs(verify(twice, head)), "doubled")
		require.Contains(t, verify(twice, head)[0].Problem, "twice")

		forged, _, err := consent.Head{Seq: int64(at), Hash: links[at].Prev}.Append("ada", entry(99))
		require.NoError(t, err)
		inserted := slices.Insert(slices.Clone(links), at, forged)
		for i := at + 1; i < len(inserted); i++ {
			inserted[i].Seq++
		}
		require.Equal(t, seq+1, first(inserted), "inserted: what it displaced no longer fits")

		extended, further, err := head.Append("ada", entry(99))
		require.NoError(t, err)
		more, _, err := further.Append("ada", entry(100))
		require.NoError(t, err)
		require.Equal(t, []int64{int64(n + 1)}, seqs(verify(append(slices.Clone(links), extended, more), head)), "appended behind our back")

		others, _ := chain(t, "grace", n)
		foreign := slices.Clone(links)
		foreign[at] = others[at]
		require.Equal(t, seq, first(foreign), "taken from another's chain")

		require.Equal(t, []int64{1}, seqs(verify(nil, head)), "all gone")
	})
}

func TestAFindingReadsWell(t *testing.T) {
	t.Parallel()
	links, head := chain(t, "ada", 3)
	found := verify(links[:2], head)
	require.Equal(t, "ada #3: removed: the chain should end at #3", found[0].String())
}

const (
	wantBody = `{"event":"requested","at":"2026-03-01T08:00:02.123456Z","operation":"op-2","number":2,"kind":"grant","actor":{"type":"customer","id":"ada"},` +
		`"origin":{"source":"app","installation":"i-1"},"wording":{"id":"w","locale":"en"},"before":{"push.enabled":false},"after":{"push.enabled":true},"version":2,` +
		`"reason":{"code":"refused","target":"crm"},"not_undone":["crm:email"]}`
	wantHash = "30727222dfde39be30eb9b2f73e8642d1d8716a316320761886c41a13b2f46bd"
)
