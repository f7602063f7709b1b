package portstest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/ports"
)

// Ledger is the contract of ports.Ledger. open gives an empty store.
func Ledger(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"newest first, page by page":       entriesPaged,
		"entries come back byte for byte":  entriesExact,
		"what nobody has touched is whole": nothingFound,
		"chains name nobody":               chainsNameNobody,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func entriesPaged(t *testing.T, s Store) {
	Apply(t, s, ada, Subscribe(ada), Unsubscribe(ada), Subscribe(ada))
	Apply(t, s, grace, Subscribe(grace))
	seqs := func(below int64, limit int) (out []int64) {
		links, err := s.Entries(t.Context(), ada, below, limit)
		require.NoError(t, err)
		for _, l := range links {
			require.Equal(t, l.Operation, l.Entry.Operation)
			out = append(out, l.Seq)
		}
		return out
	}
	require.Equal(t, []int64{6, 5, 4, 3}, seqs(0, 4))
	require.Equal(t, []int64{2, 1}, seqs(3, 4))
	require.Empty(t, seqs(1, 4))
	none, err := s.Entries(t.Context(), "nobody", 0, 10)
	require.NoError(t, err)
	require.Empty(t, none)
}

func entriesExact(t *testing.T, s Store) {
	r := Subscribe(ada)
	r.Origin.RequestID = `<"ünïcödé" & escapes \u0041>  ` + "\u2028"
	Apply(t, s, ada, r, Unsubscribe(ada))
	links := chain(t, s, ada)
	v := consent.NewVerifier(links[0].Chain, func(l consent.Link) (consent.Entry, error) { return links[l.Seq-1].Entry, nil })
	for _, l := range links {
		v.Check(l.Link)
		require.Equal(t, consent.Sealed, l.Form)
		require.NotContains(t, string(l.Body), "email", "nobody reads it without the key")
	}
	require.Empty(t, v.Finish(consent.Head{Seq: 4, Hash: links[3].Hash}))
	e := links[0].Entry
	require.Equal(t, r.Origin, e.Origin)
	require.Equal(t, r.ID, e.Operation)
	require.Equal(t, r.ID, links[0].Operation)
	require.Equal(t, Noon, links[0].At)
	require.Equal(t, links[0].Hash, links[1].Prev)
	require.Zero(t, links[0].Prev)
}

func nothingFound(t *testing.T, s Store) {
	Apply(t, s, ada, Subscribe(ada), Unsubscribe(ada))
	Apply(t, s, grace, Subscribe(grace))
	require.Equal(t, ports.Verified{Chains: 2, Entries: 6}, verified(t, s, ""))
	require.Equal(t, ports.Verified{Chains: 1, Entries: 2}, verified(t, s, string(grace)))
	require.Equal(t, ports.Verified{Chains: 1, Entries: 2}, verified(t, s, chain(t, s, grace)[0].Chain), "by its own name")
	require.Zero(t, verified(t, s, "nobody"))
}

// A chain is called by a name that says nothing, and no two are called the same.
func chainsNameNobody(t *testing.T, s Store) {
	Accept(t, s, ada, Subscribe(ada))
	Accept(t, s, grace, Subscribe(grace))
	mine, theirs := chain(t, s, ada)[0].Chain, chain(t, s, grace)[0].Chain
	require.NotEqual(t, mine, theirs)
	require.NotContains(t, mine, string(ada))
	Accept(t, s, ada, Unsubscribe(ada))
	require.Equal(t, mine, chain(t, s, ada)[1].Chain)
}

// FirstRecipe reads a chain as it was written before entries were sealed, under another name: its hashes are those of the
// first recipe, told again here.
func FirstRecipe(t testing.TB, file, name string) []consent.Link {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var rows []struct {
		Operation, Body string
		Event           consent.Event
		Seq             int64
		At              time.Time
	}
	require.NoError(t, json.Unmarshal(raw, &rows))
	var out []consent.Link
	var prev consent.Hash
	for _, r := range rows {
		l := consent.Link{Chain: name, Seq: r.Seq, Form: consent.Plain, Operation: r.Operation, Event: r.Event, At: r.At, Body: []byte(r.Body), Prev: prev}
		var image []byte
		number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
		for _, part := range [][]byte{[]byte("accord/ledger/v1"), []byte(name), number(l.Seq), []byte(l.Operation), []byte(l.Event),
			number(l.At.UnixMicro()), l.Body, prev[:]} {
			image = append(append(image, number(int64(len(part)))...), part...)
		}
		l.Hash = sha256.Sum256(image)
		out, prev = append(out, l), l.Hash
	}
	return out
}
