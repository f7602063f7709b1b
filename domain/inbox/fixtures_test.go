package inbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// orders and sale are a catalogue with one target that is active and one that is not.
func links(t interface{ Fatal(...any) }) *inbox.Links {
	pattern := func(s string) inbox.Pattern {
		p, err := inbox.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	return inbox.NewLinks(
		inbox.LinkTarget{Key: "orders", Pattern: pattern("app://orders/{order_id}"), Active: true},
		inbox.LinkTarget{Key: "sale", Pattern: pattern("app://sale"), Active: false},
	)
}

func draft() inbox.Draft {
	return inbox.Draft{Source: "shop", ExternalID: "m-1", Audience: inbox.Global,
		Content: inbox.Content{Text: inbox.Text{Title: "Hello", Body: "There"}, Link: "app://orders/42"}}
}

// requireField checks that err names the field with the code.
func requireField(t *testing.T, err error, path, code string) {
	t.Helper()
	f, ok := fault.As(err)
	require.True(t, ok, "%v", err)
	require.True(t, slices.ContainsFunc(f.Fields, func(x fault.Field) bool { return x.Path == path && x.Code == code }), "%v", err)
}

// moments draws times around noon, with ties.
func moments() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		return noon.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, "minutes")) * time.Minute)
	})
}

func customers(names ...string) (out []preference.CustomerID) {
	for _, n := range names {
		out = append(out, preference.CustomerID(n))
	}
	return out
}
