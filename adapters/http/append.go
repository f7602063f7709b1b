package httpapi

import (
	"strconv"
	"time"
	"unicode/utf8"

	"accord/domain/inbox"
	"accord/ports"
)

// The inbox is read more often than all else together, so its answers are written without reflection, straight into one
// buffer. What is appended is what encoding/json would write with HTML escaping switched off; tests hold it to that.

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string. Bytes that are not UTF-8 become U+FFFD, and the two line separators that are not
// allowed in JavaScript are escaped.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	begin := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = appendEscaped(append(b, s[begin:i]...), c)
			i++
			begin = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[begin:i]...), `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[begin:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xF])
		default:
			i += size
			continue
		}
		i += size
		begin = i
	}
	return append(append(b, s[begin:]...), '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xF])
}

// appendTextOrNull appends null for an empty string.
func appendTextOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendText(b, s)
}

// appendTime appends RFC 3339 in UTC, null for a time that has not happened.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

func appendInt(b []byte, name string, n int) []byte {
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}

// appendPage appends an InboxPage.
func appendPage(b []byte, p ports.FeedPage) []byte {
	b = append(b, `{"messages":[`...)
	b = appendEntries(b, p.Messages)
	b = append(b, `],"next_cursor":`...)
	b = appendTextOrNull(b, p.Next)
	b = append(b, ',')
	return append(appendState(b, p.InboxState), '}', '\n')
}

// appendChanges appends an InboxChanges.
func appendChanges(b []byte, c ports.InboxChanges) []byte {
	b = append(b, `{"upserts":[`...)
	b = appendEntries(b, c.Upserts)
	b = append(b, `],"removals":[`...)
	for i, id := range c.Removals {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(id.Append(append(b, '"')), '"')
	}
	b = append(b, `],"has_more":`...)
	b = append(strconv.AppendBool(b, c.More), ',')
	return append(appendState(b, c.InboxState), '}', '\n')
}

func appendEntries(b []byte, entries []ports.FeedEntry) []byte {
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.ID.Append(append(b, `{"id":"`...))
		b = append(b, `",`...)
		b = append(b, e.Card...)
		b = append(b, ',')
		b = append(appendReceipt(b, e.Receipt), '}')
	}
	return b
}

// appendReceipt appends the members of a Receipt.
func appendReceipt(b []byte, r inbox.Receipt) []byte {
	b = appendTime(append(b, `"seen_at":`...), r.SeenAt)
	b = appendTime(append(b, `,"read_at":`...), r.ReadAt)
	b = appendTime(append(b, `,"clicked_at":`...), r.ClickedAt)
	return appendTime(append(b, `,"archived_at":`...), r.ArchivedAt)
}

// appendState appends the members that every answer about an inbox has.
func appendState(b []byte, s ports.InboxState) []byte {
	b = appendInt(b, `"counts":{"total":`, s.Counts.Total)
	b = appendInt(b, `,"unseen":`, s.Counts.Unseen)
	b = appendInt(b, `,"unread":`, s.Counts.Unread)
	b = strconv.AppendInt(append(b, `},"version":"`...), s.Version.Own, 10)
	b = strconv.AppendInt(append(b, '.'), s.Version.Global, 10)
	b = appendTime(append(b, `","freshness":{"as_of":`...), s.Freshness.AsOf)
	b = appendTime(append(b, `,"fresh_until":`...), s.Freshness.FreshUntil)
	b = strconv.AppendBool(append(b, `,"stale":`...), s.Freshness.Stale)
	return append(b, '}')
}
