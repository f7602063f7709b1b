package checkpoint_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"accord/adapters/checkpoint"
	"accord/domain/consent"
)

// log keeps the hashes of a tree in memory.
type log struct{ hashes []tlog.Hash }

func (l *log) ReadHashes(indexes []int64) (out []tlog.Hash, err error) {
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// proved is a proof of three entries, two of them sealed in the third leaf of a log of five, and the key that it is signed with.
func proved(tb testing.TB) (p consent.Proof, key string) {
	tb.Helper()
	c := consent.Chain{ID: "ch_ada", Key: consent.Key{1}}
	for n := range 3 {
		e := consent.Entry{Event: consent.Requested, At: at.Add(time.Duration(n) * time.Second), Operation: fmt.Sprint("op-", n), Kind: "grant",
			Actor: consent.Actor{Type: "customer", ID: "ada"}, After: map[string]any{"push.enabled": n > 0}}
		l, next, err := c.Append(e)
		require.NoError(tb, err)
		entry, err := consent.ProofOf(consent.Line{Link: l, Entry: e}, c.Key, n < 2, n == 1)
		require.NoError(tb, err)
		p.Entries, c = append(p.Entries, entry), next
		if n == 1 {
			p.Seal = &consent.ProofSeal{Seq: l.Seq, Leaf: 2, Path: []string{}}
		}
	}
	p.Format, p.Chain = consent.ProofFormat, c.ID
	_, links, _ := p.Check()
	tree := &log{}
	for n := range int64(5) {
		leaf := consent.Leaf{Index: n, Chain: "ch_other", Seq: n + 1}
		if n == p.Seal.Leaf {
			leaf = consent.Leaf{Index: n, Chain: c.ID, Seq: 2, Hash: links[1].Hash}
		}
		more, err := tlog.StoredHashes(n, leaf.Record(), tree)
		require.NoError(tb, err)
		tree.hashes = append(tree.hashes, more...)
	}
	root, err := tlog.TreeHash(5, tree)
	require.NoError(tb, err)
	path, err := tlog.ProveRecord(5, p.Seal.Leaf, tree)
	require.NoError(tb, err)
	for _, h := range path {
		p.Seal.Path = append(p.Seal.Path, fmt.Sprintf("%x", h[:]))
	}
	private, err := checkpoint.NewKey("accord.test")
	require.NoError(tb, err)
	s, err := checkpoint.NewSigner(private)
	require.NoError(tb, err)
	p.Seal.Checkpoint, p.Seal.Verifier, err = s.Sign(5, consent.Hash(root), at)
	require.NoError(tb, err)
	return p, p.Seal.Verifier
}

// FuzzCheck: a file that passes with a key that is trusted says what was signed: the entries up to the sealed one are all
// there and as they were, and nothing was added. What came after them may be left out, as nothing seals it yet.
func FuzzCheck(f *testing.F) {
	whole, key := proved(f)
	raw, err := json.Marshal(whole)
	require.NoError(f, err)
	got, err := checkpoint.Check(raw, key)
	require.NoError(f, err)
	require.Empty(f, got.Problems)
	f.Add(string(raw))
	f.Add(strings.Replace(string(raw), `"path":["`, `"path":["A`, 1))
	f.Add(strings.Replace(string(raw), `"leaf":2`, `"leaf":3`, 1))
	f.Add(strings.Replace(string(raw), `"seal":{`, `"seal":null,"was":{`, 1))
	for i := range whole.Seal.Path {
		other, _ := proved(f)
		other.Seal.Path[i] = strings.ToUpper(other.Seal.Path[i])
		other.Seal.Checkpoint, other.Seal.Verifier = whole.Seal.Checkpoint, whole.Seal.Verifier
		text, err := json.Marshal(other)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := checkpoint.Check([]byte(text), key)
		if err != nil || len(got.Problems) > 0 {
			return
		}
		require.True(t, got.Proof.Seal == nil || got.Trusted)
		require.LessOrEqual(t, len(got.Proof.Entries), len(whole.Entries))
		for i, e := range got.Proof.Entries {
			e.At = e.At.UTC()
			if got.Proof.Seal == nil {
				e.Sealed = whole.Entries[i].Sealed
			}
			requireSame(t, whole.Entries[i], e)
		}
		if got.Proof.Seal != nil {
			require.GreaterOrEqual(t, len(got.Proof.Entries), int(whole.Seal.Seq))
			require.Equal(t, whole.Seal, got.Proof.Seal)
		}
	})
}

func requireSame(t *testing.T, want, got any) {
	t.Helper()
	a, err := json.Marshal(want)
	require.NoError(t, err)
	b, err := json.Marshal(got)
	require.NoError(t, err)
	require.JSONEq(t, string(a), string(b))
}

// FuzzOpen: nothing but the very note that was signed is opened.
func FuzzOpen(f *testing.F) {
	p, key := proved(f)
	v, err := checkpoint.NewVerifiers(key)
	require.NoError(f, err)
	f.Add(p.Seal.Checkpoint)
	f.Add(p.Seal.Checkpoint + "\n")
	f.Add(strings.ReplaceAll(p.Seal.Checkpoint, "\n", "\r\n"))
	f.Add(p.Seal.Checkpoint + strings.SplitAfterN(p.Seal.Checkpoint, "\n\n", 2)[1])
	f.Add(p.Seal.Checkpoint + "\u2014 another.test AAAAAAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := v.Open(text)
		if err != nil {
			return
		}
		require.Equal(t, "accord.test", c.Origin)
		signed, _, _ := strings.Cut(p.Seal.Checkpoint, "\n\n")
		says, _, _ := strings.Cut(text, "\n\n")
		require.Equal(t, signed, says)
		require.Contains(t, strings.SplitAfter(text, "\n"), strings.SplitAfter(p.Seal.Checkpoint, "\n\n")[1], "to the letter, in whatever company")
	})
}

// FuzzNewSigner: a key that is taken signs what its own verifier opens; one that is refused is not quoted.
func FuzzNewSigner(f *testing.F) {
	key, err := checkpoint.NewKey("accord.test")
	require.NoError(f, err)
	f.Add(key)
	f.Add(key + "=")
	f.Add("PRIVATE+KEY+a+00000000+AQ==")
	f.Add("PRIVATE+KEY++++")
	f.Fuzz(func(t *testing.T, key string) {
		s, err := checkpoint.NewSigner(key)
		if err != nil {
			require.False(t, len(key) > 20 && strings.Contains(err.Error(), key))
			return
		}
		signed, verifier, err := s.Sign(1, consent.Hash{}, at)
		require.NoError(t, err)
		v, err := checkpoint.NewVerifiers(verifier)
		require.NoError(t, err)
		_, err = v.Open(signed)
		require.NoError(t, err)
	})
}
