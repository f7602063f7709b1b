package consent_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/consent"
)

func proofOf(t require.TestingT, n int) consent.Proof {
	links, _ := chain(t, "ch_ada", n)
	p := consent.Proof{Format: consent.ProofFormat, Chain: "ch_ada", Seal: &consent.ProofSeal{Seq: int64(n - 1)}}
	for i, l := range links {
		e, err := read(l)
		require.NoError(t, err)
		entry, err := consent.ProofOf(consent.Line{Link: l, Entry: e}, key, i < n-1, i == 1)
		require.NoError(t, err)
		p.Entries = append(p.Entries, entry)
	}
	return p
}

func TestAProofIsReadAndChecked(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(proofOf(t, 4))
	require.NoError(t, err)
	var p consent.Proof
	require.NoError(t, json.Unmarshal(text, &p))
	opened, links, problems := p.Check()
	require.Empty(t, problems)
	require.Equal(t, 3, opened, "one is closed")
	require.Len(t, links, 4)
}

// Nothing that is said can be another thing: any value of the file, changed, is found.
func TestAnyChangedValueOfAProofIsFound(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(proofOf(t, 4))
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		changed := append([]byte(nil), text...)
		at := rapid.IntRange(0, len(changed)-1).Draw(t, "at")
		was := changed[at]
		changed[at] = rapid.Byte().Filter(func(b byte) bool { return b != was }).Draw(t, "byte")
		var p, whole consent.Proof
		if json.Unmarshal(changed, &p) != nil {
			return // not even JSON
		}
		require.NoError(t, json.Unmarshal(text, &whole))
		p.Seal, whole.Seal = nil, nil // for who knows the log
		a, err := json.Marshal(p)
		require.NoError(t, err)
		b, err := json.Marshal(whole)
		require.NoError(t, err)
		if string(a) == string(b) {
			return // it means the same, such as a name in capitals
		}
		require.NoError(t, json.Unmarshal(changed, &p))
		_, _, problems := p.Check()
		require.NotEmpty(t, problems, "%s", changed)
	})
}

func TestWhatStoodAtATime(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	line := func(seq int64, event consent.Event, op, kind string, minute int, after map[string]any) consent.Line {
		return consent.Line{Link: consent.Link{Seq: seq, Operation: op, Event: event, At: at(minute)}, Entry: consent.Entry{Kind: kind, After: after}}
	}
	on, off := map[string]any{"email.marketing": "subscribed"}, map[string]any{"email.marketing": "unsubscribed"}
	lines := []consent.Line{line(1, consent.Requested, "a", "grant", 0, on), line(2, consent.Applied, "a", "grant", 1, on),
		line(3, consent.Requested, "b", "withdrawal", 2, off), line(4, consent.NeedsAttention, "b", "withdrawal", 3, off),
		line(5, consent.Applied, "b", "withdrawal", 5, off), line(6, consent.Requested, "c", "grant", 6, on), line(7, consent.Compensated, "c", "grant", 7, off)}
	require.Empty(t, consent.StandingAt(lines, at(0)).Facts, "asked for is not applied")
	s := consent.StandingAt(lines, at(1))
	require.Equal(t, consent.Fact{Value: "subscribed", Seq: 2, Since: at(1), Operation: "a"}, s.Facts["email.marketing"])
	require.Empty(t, s.Withheld)
	for _, minute := range []int{2, 3, 4} {
		s = consent.StandingAt(lines, at(minute))
		require.Equal(t, "subscribed", s.Facts["email.marketing"].Value)
		require.EqualValues(t, 3, s.Withheld["email.marketing"].Seq, "from the moment it was asked for")
	}
	for _, minute := range []int{5, 6, 7, 99} {
		s = consent.StandingAt(lines, at(minute))
		require.EqualValues(t, 5, s.Facts["email.marketing"].Seq)
		require.Empty(t, s.Withheld)
	}
}
