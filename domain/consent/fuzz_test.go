package consent_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
)

// FuzzChain: whatever a stored column is changed to, the verifier finds it.
func FuzzChain(f *testing.F) {
	links, whole := chain(f, "ch_ada", 4)
	for i, l := range links {
		f.Add(i, l.Chain, l.Seq, int16(l.Form), l.Operation, string(l.Event), l.At.UnixMicro(), l.Body, l.Prev[:], l.Hash[:])
	}
	other := links[1]
	f.Add(0, "ch_ad", int64(math.MinInt64), int16(1), "aop-1", "equested", int64(math.MaxInt64), other.Body, other.Hash[:], other.Prev[:])
	f.Add(2, "ch_ada", int64(2), int16(3), "op-3", "erased", links[2].At.UnixMicro(), []byte(`{"event":"erased"}`), other.Hash[:], links[2].Hash[:])
	f.Fuzz(func(t *testing.T, at int, id string, seq int64, form int16, operation, event string, micros int64, body, prev, hash []byte) {
		if at < 0 || at >= len(links) {
			return
		}
		l := consent.Link{Chain: id, Seq: seq, Form: consent.Form(form), Operation: operation, Event: consent.Event(event), At: time.UnixMicro(micros).UTC(), Body: body}
		copy(l.Prev[:], prev)
		copy(l.Hash[:], hash)
		changed := slices.Clone(links)
		changed[at] = l
		is, err := json.Marshal(l)
		was, _ := json.Marshal(links[at])
		v := consent.NewVerifier("ch_ada", read)
		for _, l := range changed {
			v.Check(l)
		}
		findings := v.Finish(whole.Head)
		require.Equal(t, err != nil || string(is) != string(was), len(findings) > 0, "%v", findings)
	})
}

// FuzzParseCheckpoint: there is one text for each checkpoint.
func FuzzParseCheckpoint(f *testing.F) {
	text := consent.Checkpoint{Origin: "accord.test", Size: 7, Root: consent.Hash{1}, At: start}.Text()
	f.Add(text)
	f.Add(strings.Replace(text, "\n7\n", "\n+7\n", 1))
	f.Add(strings.Replace(text, "=\n", "\n", 1))
	f.Add(strings.Replace(text, "Z\n", "+00:00\n", 1))
	f.Add("\n\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := consent.ParseCheckpoint(text)
		if err != nil {
			return
		}
		require.Equal(t, text, c.Text())
	})
}

// FuzzOpen: nothing but what was sealed for this place is opened.
func FuzzOpen(f *testing.F) {
	links, _ := chain(f, "ch_ada", 2)
	for _, l := range links {
		f.Add(l.Seq, l.Body)
		f.Add(l.Seq+1, l.Body)
		f.Add(l.Seq, l.Body[:len(l.Body)-1])
	}
	f.Add(int64(1), []byte{})
	f.Fuzz(func(t *testing.T, seq int64, body []byte) {
		_, err := consent.Link{Chain: "ch_ada", Seq: seq, Form: consent.Sealed, Body: body}.Read(key)
		sealed := slices.ContainsFunc(links, func(l consent.Link) bool { return l.Seq == seq && string(l.Body) == string(body) })
		require.Equal(t, sealed, err == nil)
	})
}

// FuzzProof: a file that is said to prove a chain, and has no problem, says what is in the chain and nothing else.
func FuzzProof(f *testing.F) {
	whole := proofOf(f, 4)
	text, err := json.Marshal(whole)
	require.NoError(f, err)
	f.Add(string(text))
	late := proofOf(f, 4)
	late.Entries[1].At = late.Entries[1].At.Add(time.Nanosecond) // of the closed one
	lateText, err := json.Marshal(late)
	require.NoError(f, err)
	f.Add(string(lateText))
	keyed := proofOf(f, 4)
	keyed.Entries[0].Key = strings.ToUpper(keyed.Entries[0].Key)
	keyedText, err := json.Marshal(keyed)
	require.NoError(f, err)
	f.Add(string(keyedText))
	f.Add(strings.ReplaceAll(string(text), `"key":"`, `"key":"A`))
	f.Add(strings.ToUpper(string(text)))
	f.Fuzz(func(t *testing.T, text string) {
		var p consent.Proof
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		opened, links, problems := p.Check()
		if len(problems) > 0 {
			return
		}
		require.Len(t, links, len(p.Entries))
		require.LessOrEqual(t, opened, len(links))
		require.NotEmpty(t, links)
		require.LessOrEqual(t, len(links), len(whole.Entries), "without a key nothing can be added")
		for i, e := range p.Entries {
			e.At, e.Sealed = e.At.UTC(), whole.Entries[i].Sealed // as the seal has it, which is not held against a log here
			is, err := json.Marshal(e)
			require.NoError(t, err)
			was, err := json.Marshal(whole.Entries[i])
			require.NoError(t, err)
			require.JSONEq(t, string(was), string(is))
		}
	})
}
