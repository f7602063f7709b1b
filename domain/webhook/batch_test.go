package webhook

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// FuzzEvents: what a body is taken apart into is all of it, each part at the path that errors name.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{`{"id":"1"}`, `[{"id":"1"},null]`, `{"events":[1,"x",{}]}`, `{"events":null}`, `{"events":{}}`, `[]`, ` [1] `, `{"Events":[{}]}`, `{"events":[],"events":[1]}`, "\xff", `"\ud800"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Events(body)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, fault.Invalid, broken.Kind)
			require.NotEmpty(t, broken.Fields)
			return
		}
		require.LessOrEqual(t, len(events), MaxEvents)
		paths, length := map[string]bool{}, 0
		for _, e := range events {
			require.True(t, json.Valid(e.Raw))
			require.False(t, paths[e.At])
			paths[e.At], length = true, length+len(e.Raw)
			var any struct{ ID, Type string }
			if err := e.Into(&any); err != nil {
				broken, is := fault.As(err)
				require.True(t, is)
				require.Len(t, broken.Fields, 1)
				require.Contains(t, broken.Fields[0].Path, e.At)
			}
		}
		require.LessOrEqual(t, length, len(body), "nothing is there twice")
	})
}
