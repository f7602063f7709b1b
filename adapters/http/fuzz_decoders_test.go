package httpapi

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
)

// FuzzCursors: there is one text for each place in a list, and none of it is a place in another.
func FuzzCursors(f *testing.F) {
	for _, seed := range []string{"", auditCursor(1), auditCursor(math.MaxInt64), countCursor(checkpointCursorPrefix, 7), "YXVkaXQ6KzE", "YXVkaXQ6MDE", "YXVkaXQ6MR", "YXVkaXQ6MQ\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		places := 0
		for _, list := range []string{auditCursorPrefix, checkpointCursorPrefix, deliveryCursorPrefix} {
			n, err := readCountCursor(list, cursor)
			if err != nil {
				broken, is := fault.As(err)
				require.True(t, is)
				require.Equal(t, "cursor", broken.Fields[0].Path)
				continue
			}
			if cursor == "" {
				require.Zero(t, n)
				continue
			}
			places++
			require.Positive(t, n)
			require.Equal(t, cursor, countCursor(list, n))
		}
		require.LessOrEqual(t, places, 1)
	})
}

// FuzzChangeHeaders: what is taken means what it says.
func FuzzChangeHeaders(f *testing.F) {
	for _, seed := range [][3]string{{`"k"`, `"1"`, "wait=1"}, {`"a\\\"b"`, `W/"1", "2",`, "respond-async, wait=\"3\""}, {"k", "*", "wait=999999999"}, {`"`, `"*"`, "WAIT = 2;x, wait=3"}, {"\u2028", "\xff", ";=,"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, key, match, prefer string) {
		h, err := readChangeHeaders(http.Header{"Idempotency-Key": {key}, "If-Match": {match}, "Prefer": {prefer}})
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			for _, field := range broken.Fields {
				require.Contains(t, []string{"Idempotency-Key", "If-Match"}, field.Path)
			}
			return
		}
		require.Regexp(t, `^[!-~]{1,255}$`, h.key)
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(h.key) + `"`
		require.Contains(t, []string{h.key, quoted}, strings.TrimSpace(key), "one key has two spellings, bare and quoted")
		again, err := readChangeHeaders(http.Header{"Idempotency-Key": {quoted}})
		require.NoError(t, err)
		require.Equal(t, h.key, again.key)
		for _, tag := range h.ifMatch {
			require.True(t, tag == "*" && strings.TrimSpace(match) == "*" || strings.Contains(match, `"`+tag+`"`) && tag != "*", "%q of %q", tag, match)
		}
		require.True(t, h.prefer.wait >= 0 && h.prefer.wait <= maxWait)
		require.False(t, h.prefer.respondAsync && !strings.Contains(strings.ToLower(prefer), "respond-async"))
	})
}

// FuzzIfNoneMatch: the quick way says the same as the list.
func FuzzIfNoneMatch(f *testing.F) {
	f.Add(`W/"1.1-x"`, "1.1-x")
	f.Add(`"a", "b"`, "b")
	f.Add(`W/W/"a"`, "a")
	f.Add(`""`, "")
	f.Fuzz(func(t *testing.T, value, current string) {
		if strings.ContainsAny(current, "\" \t,") || current == "" || strings.ContainsFunc(current, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return // no tag of ours
		}
		seen := hasSeen(http.Header{"If-None-Match": {value}}, current)
		list, ok := entityTags(strings.TrimSpace(value))
		held := slices.ContainsFunc(list, func(t tag) bool { return t.opaque == current })
		require.Equal(t, strings.TrimSpace(value) == "*" || ok && held, seen && (ok || strings.TrimSpace(value) == "*"), "%q", value)
	})
}

// FuzzLocales: few tags come of a header, each of which is its own canonical form.
func FuzzLocales(f *testing.F) {
	for _, seed := range []string{"de-CH, fr;q=0.3", "*", "i-klingon", "en-US-u-ca-buddhist", "zh-min-nan;q=1.0", strings.Repeat("en,", 300), "de_CH", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags := locales(header)
		require.LessOrEqual(t, len(tags), maxLocales)
		for _, tag := range tags {
			require.Regexp(t, `^[A-Za-z0-9-]{1,255}$`, tag)
			again := locales(tag)
			require.Equal(t, []string{tag}, again)
		}
	})
}

// FuzzParseJSON: what is read is what the standard decoder reads, unless that would pass over something.
func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1,"a":2}`, `{"a":[{"b":null}]}`, `1 2`, `"\ud800"`, "[", `{"a":1e400}`, strings.Repeat("[", 40) + strings.Repeat("]", 40), "\xff", "\ufeff{}", `{"A":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, err := parseJSON(raw)
		if err != nil {
			broken, is := fault.As(err)
			require.True(t, is)
			require.Equal(t, fault.Invalid, broken.Kind)
			for _, field := range broken.Fields {
				require.LessOrEqual(t, len(field.Path), 210)
				require.True(t, utf8.ValidString(field.Path))
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var want any
		require.NoError(t, dec.Decode(&want))
		require.Equal(t, want, tree)
		canonical, err := json.Marshal(tree)
		require.NoError(t, err)
		again, err := parseJSON(canonical)
		require.NoError(t, err)
		require.Equal(t, tree, again)
	})
}
