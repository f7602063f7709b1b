package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// FuzzParseCursor: there is one text for each position.
func FuzzParseCursor(f *testing.F) {
	for _, seed := range []string{"", "MSBvcC14", "MSBhYg", "MSBhYh", "MSAA", "KzEgYQ", "OTIyMzM3MjAzNjg1NDc3NTgwNyBh", "MSBhYg\n", "IA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := parseCursor(cursor)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, fault.Invalid, broken.Kind)
			require.Equal(t, "cursor", broken.Fields[0].Path)
			return
		}
		if cursor == "" {
			require.Equal(t, position{}, p)
			return
		}
		require.Equal(t, cursor, p.cursor())
		require.False(t, p.at.Year() < 1970 || p.at.Year() > 9999)
	})
}
