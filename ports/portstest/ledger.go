package portstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
)

// Ledger is the contract of ports.Ledger. open gives an empty store.
func Ledger(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"newest first, page by page":       entriesPaged,
		"entries come back byte for byte":  entriesExact,
		"what nobody has touched is whole": nothingFound,
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
			require.EqualValues(t, ada, l.Customer)
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
	v := consent.NewVerifier(string(ada))
	for _, l := range links {
		v.Check(l)
	}
	require.Empty(t, v.Finish(consent.Head{Seq: 4, Hash: links[3].Hash}))
	e, err := links[0].Entry()
	require.NoError(t, err)
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
	fail := func(f consent.Finding) { t.Error(f) }
	chains, entries, err := s.Verify(t.Context(), "", fail)
	require.NoError(t, err)
	require.EqualValues(t, 2, chains)
	require.EqualValues(t, 6, entries)
	chains, entries, err = s.Verify(t.Context(), grace, fail)
	require.NoError(t, err)
	require.EqualValues(t, 1, chains)
	require.EqualValues(t, 2, entries)
	chains, entries, err = s.Verify(t.Context(), "nobody", fail)
	require.NoError(t, err)
	require.Zero(t, chains+entries)
}
