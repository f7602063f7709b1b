package stream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
)

// FuzzParseMark: there is one id for each place in a stream, and it fits on a line of its own.
func FuzzParseMark(f *testing.F) {
	m := mark{version: inbox.Version{Own: 1, Global: 2}, tag: "t-1"}
	for _, seed := range []string{m.id("1z"), m.id(""), "1-1.2-0-a-b", "1-1.2-00-a-", "1-1.2--1-a-b", "1-1.2-+1-a-b", "1-1.2-1y2p0ij32e8e7-a-b", "1-1.2-Z-a-b", "1-1.2-0-a-\n", "1-1.2-0-a-\"", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		m, viewer, err := parseMark(id)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, "Last-Event-ID", broken.Fields[0].Path)
			return
		}
		require.Equal(t, id, m.id(viewer))
		require.LessOrEqual(t, len(id), maxMark)
		require.False(t, strings.ContainsAny(id, " \r\n\x00\"\\"))
	})
}
