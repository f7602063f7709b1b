package consent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
)

func TestACheckpointIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	c := consent.Checkpoint{Origin: "accord.example", Size: 42, Root: consent.Hash{1, 2, 3}, At: start}
	text := c.Text()
	require.Equal(t, "accord.example\n42\nAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\naccord/sealed-at 2026-03-01T08:00:00.123456Z\n", text)
	got, err := consent.ParseCheckpoint(text)
	require.NoError(t, err)
	require.Equal(t, c, got)
	for _, bad := range []string{"", "x", text + "more\n", strings.Replace(text, "42", "042", 1), strings.Replace(text, "42", "x", 1),
		strings.Replace(text, "AQID", "AQI", 1), strings.Replace(text, "sealed-at", "sealed", 1), strings.TrimSuffix(text, "\n")} {
		_, err := consent.ParseCheckpoint(bad)
		require.Error(t, err, bad)
	}
}

func TestNoTwoLeavesHaveTheSameRecord(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, l := range []consent.Leaf{{Chain: "a", Seq: 1}, {Chain: "a", Seq: 2}, {Chain: "b", Seq: 1}, {Chain: "a", Seq: 1, Hash: consent.Hash{1}}, {Chain: "a\x00", Seq: 1}} {
		require.False(t, seen[string(l.Record())])
		seen[string(l.Record())] = true
	}
}
