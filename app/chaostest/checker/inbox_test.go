package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shown is one message in a page, with what was done with it.
func card(id string, receipt ...string) string {
	at := func(word string) string {
		for _, r := range receipt {
			if r == word {
				return `"2026-05-04T10:00:00Z"`
			}
		}
		return "null"
	}
	return fmt.Sprintf(`{"id":"msg-%s","title":"title %s","audience":"global","seen_at":%s,"read_at":%s,"clicked_at":%s,"archived_at":%s}`, id, id,
		at("seen"), at("read"), at("clicked"), at("archived"))
}

func feed(version, next string, total, unseen, unread int, cards ...string) string {
	if next != "" {
		next = `"` + next + `"`
	} else {
		next = "null"
	}
	return fmt.Sprintf(`{"messages":[%s],"next_cursor":%s,"counts":{"total":%d,"unseen":%d,"unread":%d},"version":"%s","freshness":{"as_of":"2026-05-04T12:00:00Z"}}`,
		strings.Join(cards, ","), next, total, unseen, unread, version)
}

func (s *story) publish(id, audience string) *Call {
	c := s.call("campaigns", "POST", "/v1/messages", fmt.Sprintf(`{"title":"title %s","audience":%s}`, id, audience), 201, fmt.Sprintf(`{"id":"msg-%s"}`, id))
	c.Scope = "messages:write"
	return c
}

const (
	forAll = `{"type":"global"}`
	forAda = `{"type":"customers","ids":["ada"]}`
)

// adaReads is a customer with two messages, who pages through them, acknowledges one and follows the changes.
func adaReads(t *testing.T) *story {
	t.Helper()
	s := tell(t)
	st := s.standing("ada")
	s.publish("1", forAll)
	s.publish("2", forAda)
	s.later(2 * FreshWithin)
	s.paged("a", "1.1", "", "")
	s.call("ada", "POST", "/v1/inbox/messages/msg-1/acknowledge", `{"state":"read"}`, 200, `{}`)
	c := s.call("ada", "GET", "/v1/inbox/changes?since=1.1", "", 200,
		`{"upserts":[`+card("1", "seen", "read")+`],"removals":[],"counts":{"total":2,"unseen":1,"unread":1},"version":"2.1","has_more":false}`)
	c.Session = "a"
	s.paged("a", "2.1", "seen", "read")
	s.heard = append(s.heard, &Heard{Stream: "s", Customer: "ada", At: s.now, Kind: "inbox.changed", Data: `{"version":"2.1"}`})
	st.Inbox = []json.RawMessage{json.RawMessage(feed("2.1", "", 2, 1, 1, card("2"), card("1", "seen", "read")))}
	st.Archived = []json.RawMessage{json.RawMessage(feed("2.1", "", 2, 1, 1))}
	return s
}

// paged reads both messages in two pages.
func (s *story) paged(session, version string, receipt ...string) {
	unread := 2
	if receipt[0] != "" {
		unread = 1
	}
	a := s.call("ada", "GET", "/v1/inbox?limit=1", "", 200, feed(version, "next", 2, unread, unread, card("2")))
	b := s.call("ada", "GET", "/v1/inbox?limit=1&cursor=next", "", 200, feed(version, "", 2, unread, unread, card("1", receipt...)))
	a.Session, b.Session = session, session
}

func TestAnInboxThatKeepsItsPromisesIsNotBlamed(t *testing.T) {
	t.Parallel()
	r := adaReads(t).judged()
	require.Empty(t, r.Violations, r.Told(nil))
	for _, rule := range []string{RuleMessages, RulePaging, RuleCounts, RuleFresh, RuleReceipts, RuleChanges, RuleStream} {
		require.Positive(t, r.Checked[rule], rule)
	}
}

func TestEveryBrokenPromiseOfTheInboxIsFound(t *testing.T) {
	t.Parallel()
	// Places in the story.
	const firstPage, lastPage, changes, laterFirst, laterLast = 2, 3, 5, 6, 7
	for name, tc := range map[string]struct {
		rule  string
		spoil func(*testing.T, *story)
	}{
		"somebody else's message": {RuleMessages, func(_ *testing.T, s *story) {
			s.standing("grace")
			s.call("grace", "GET", "/v1/inbox", "", 200, feed("1.1", "", 2, 2, 2, card("2"), card("1")))
		}},
		"for nobody in particular": {RuleMessages, func(_ *testing.T, s *story) {
			s.call("", "GET", "/v1/inbox", "", 200, feed("1.1", "", 2, 2, 2, card("2"), card("1")))
		}},
		"a message from nowhere": {RuleMessages, func(_ *testing.T, s *story) {
			s.calls[firstPage].Answer = json.RawMessage(feed("1.1", "next", 2, 2, 2, card("9")))
		}},
		"before it was published": {RuleMessages, func(_ *testing.T, s *story) {
			s.publish("3", forAll)
			s.calls[lastPage].Answer = json.RawMessage(feed("1.1", "", 2, 2, 2, card("3")))
		}},
		"a message twice": {RulePaging, func(_ *testing.T, s *story) {
			s.calls[lastPage].Answer = json.RawMessage(feed("1.1", "", 2, 2, 2, card("2")))
		}},
		"a message skipped": {RulePaging, func(_ *testing.T, s *story) {
			s.calls[laterFirst].Answer = json.RawMessage(feed("2.1", "next", 1, 0, 0))
		}},
		"counts of another list": {RuleCounts, func(_ *testing.T, s *story) {
			s.call("ada", "GET", "/v1/inbox", "", 200, feed("2.1", "", 2, 2, 1, card("2"), card("1", "seen", "read")))
		}},
		"counts of pages": {RuleCounts, func(_ *testing.T, s *story) {
			s.calls[firstPage].Answer = json.RawMessage(feed("1.1", "next", 3, 2, 2, card("2")))
		}},
		"counts at the end": {RuleCounts, func(_ *testing.T, s *story) {
			st := s.standing("ada")
			st.Inbox[0] = json.RawMessage(feed("2.1", "", 2, 1, 1, card("2"), card("1")))
		}},
		"never shown": {RuleFresh, func(_ *testing.T, s *story) {
			for _, n := range []int{firstPage, laterFirst} {
				s.calls[n].Answer = json.RawMessage(feed("1.1", "next", 1, 1, 1))
			}
		}},
		"upstream was asked, and it is not there": {RuleFresh, func(_ *testing.T, s *story) {
			c := s.call("", "POST", "/_sandbox/messages", `{"title":"title 7","audience":{"type":"global"}}`, 201, `{"id":"x"}`)
			c.To = "sandbox"
			s.paged("b", "2.1", "seen", "read")
		}},
		"retracted, and there": {RuleGone, func(_ *testing.T, s *story) {
			c := s.call("campaigns", "DELETE", "/v1/messages/msg-2", "", 204, "")
			c.Scope = "messages:write"
			s.paged("b", "2.1", "seen", "read")
		}},
		"read, and unread": {RuleReceipts, func(_ *testing.T, s *story) {
			s.calls[laterLast].Answer = json.RawMessage(feed("2.1", "", 2, 1, 1, card("1", "seen")))
		}},
		"archived, and there": {RuleReceipts, func(_ *testing.T, s *story) {
			s.call("ada", "POST", "/v1/inbox/acknowledge", `{"items":[{"id":"msg-2","state":"archived"}]}`, 200, `{"items":[{"id":"msg-2","status":"applied"}]}`)
			s.paged("b", "2.1", "seen", "read")
		}},
		"a change left out": {RuleChanges, func(_ *testing.T, s *story) {
			s.calls[changes].Answer = json.RawMessage(`{"upserts":[],"removals":[],"counts":{"total":2,"unseen":1,"unread":1},"version":"2.1","has_more":false}`)
		}},
		"a removal too many": {RuleChanges, func(_ *testing.T, s *story) {
			s.calls[changes].Answer = json.RawMessage(`{"upserts":[],"removals":["msg-2"],"counts":{"total":2,"unseen":1,"unread":1},"version":"2.1","has_more":false}`)
		}},
		"a stream left behind": {RuleStream, func(_ *testing.T, s *story) { s.heard[0].Data = `{"version":"1.1"}` }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaReads(t)
			tc.spoil(t, s)
			r := s.judged()
			require.Contains(t, r.broken(), tc.rule, r.Told(nil))
		})
	}
}

func TestWhatMayHappenToAnInboxIsNotBlamed(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(*testing.T, *story){
		"just published": func(_ *testing.T, s *story) {
			s.publish("3", forAll)
			s.paged("b", "2.1", "seen", "read")
		},
		"nobody knows whether it was published": func(_ *testing.T, s *story) {
			c := s.publish("3", forAll)
			c.Status, c.Answered, c.Answer = 0, time.Time{}, nil
			s.later(2 * FreshWithin)
			s.paged("b", "2.1", "seen", "read")
		},
		"retracted meanwhile": func(_ *testing.T, s *story) {
			s.publish("3", forAda)
			c := s.call("campaigns", "DELETE", "/v1/messages/msg-3", "", 0, "")
			c.Scope, c.Answered = "messages:write", time.Time{}
			s.later(2 * FreshWithin)
			s.paged("b", "2.1", "seen", "read")
		},
		"read, and taken back": func(_ *testing.T, s *story) {
			s.call("ada", "POST", "/v1/inbox/messages/msg-1/acknowledge", `{"state":"unread"}`, 200, `{}`)
			s.call("ada", "GET", "/v1/inbox", "", 200, feed("3.1", "", 2, 1, 2, card("2"), card("1", "seen")))
		},
		"a page that was asked for twice": func(_ *testing.T, s *story) {
			lost := *s.calls[2]
			lost.ID, lost.Status, lost.Answer, lost.Answered = "q-lost", 0, nil, time.Time{}
			s.calls = append(s.calls, &lost)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := adaReads(t)
			happens(t, s)
			r := s.judged()
			require.Empty(t, r.Violations, r.Told(nil))
		})
	}
}

func TestAHistoryThatWasCutShortIsRead(t *testing.T) {
	t.Parallel()
	h, err := Read(strings.NewReader(`{"id":"q-1","method":"GET"}` + "\n" + `{"disturbance":"kill","from":"2026-05-04T10:00:00Z","until":"2026-05-04T10:00:01Z"}` + "\n" + `{"id":"q-`))
	require.NoError(t, err)
	require.Len(t, h.Calls, 1)
	require.Len(t, h.Disturbances, 1)
	_, err = Read(strings.NewReader("{\n{}\n"))
	require.Error(t, err)
	_, err = Read(strings.NewReader("{}\n{}\n"))
	require.Error(t, err)
}

// The account names the customer, the requests in order, what was expected and found, and what was done meanwhile.
func TestTheAccountCanBeRead(t *testing.T) {
	t.Parallel()
	s := phoneAndNews(t)
	s.calls[2].Header["If-Match"] = `"1"`
	r := s.judged()
	h := &History{Disturbances: []*Disturbance{{What: "kill api-1", From: s.calls[2].Invoked, To: s.calls[2].Answered}, {What: "kill api-2", From: s.now.Add(time.Hour), To: s.now.Add(2 * time.Hour)}}}
	told := r.Told(h)
	for _, part := range []string{"one-of-two-wins, customer ada", "expected: one edit of the version \"1\"", "op-ada-2 and op-ada-3", "q-2 [api-1] ada: PATCH /v1/preferences/push", "kill api-1"} {
		require.Contains(t, told, part)
	}
	require.NotContains(t, told, "kill api-2", "it was done long after")
	require.Less(t, strings.Index(told, "q-2 "), strings.Index(told, "q-3 "))
}
