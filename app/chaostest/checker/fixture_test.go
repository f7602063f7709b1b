package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// story is a history in the making: of a system that keeps every promise, until a test changes something.
type story struct {
	t     *testing.T
	now   time.Time
	calls []*Call
	heard []*Heard
	final Final
	ids   int
	seqs  map[string]int
	hash  map[string]string
	nums  map[string]int
}

func tell(t *testing.T) *story {
	t.Helper()
	return &story{t: t, now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), seqs: map[string]int{}, hash: map[string]string{}, nums: map[string]int{},
		final: Final{Quiet: true, Settled: "at once"}}
}

// later lets time pass.
func (s *story) later(d time.Duration) time.Time {
	s.now = s.now.Add(d)
	return s.now
}

// call is one that took 10 ms, a second after whatever was before.
func (s *story) call(who, method, path, body string, status int, answer string, headers ...string) *Call {
	s.ids++
	c := &Call{ID: fmt.Sprintf("q-%d", s.ids), To: "api-1", Customer: who, Invoked: s.later(time.Second), Method: method, Path: path, Status: status,
		Header: map[string]string{}, Given: map[string]string{}}
	c.Answered = s.later(10 * time.Millisecond)
	if body != "" {
		c.Body = json.RawMessage(body)
	}
	if answer != "" {
		c.Answer = json.RawMessage(answer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		c.Header[headers[i]] = headers[i+1]
	}
	s.calls = append(s.calls, c)
	return c
}

// standing of a customer, made when there is none.
func (s *story) standing(who string) *Standing {
	for i := range s.final.Customers {
		if s.final.Customers[i].Customer == who {
			return &s.final.Customers[i]
		}
	}
	s.final.Customers = append(s.final.Customers, Standing{Customer: who, Preferences: json.RawMessage(nothingChosen), Vendors: json.RawMessage(neverHeardOf)})
	return &s.final.Customers[len(s.final.Customers)-1]
}

const (
	nothingChosen = `{"version":0,"push":{"enabled":true,"version":0,"channels":{"promotions":{"enabled":false},"loyalty":{"enabled":false},"news":{"enabled":false},"order_updates":{"enabled":true}},"devices":[],"effective":[]},"email":{"marketing":{"status":"unsubscribed"},"version":0}}`
	neverHeardOf  = `{"crm":{"email_marketing":"unknown","channels":{"promotions":"unknown","loyalty":"unknown","news":"unknown","order_updates":"unknown"}},"push":{"devices":[]},"cmp":{"purposes":{"push-marketing":"unknown","email-marketing":"unknown"}}}`
)

// entry adds one to a ledger.
func (s *story) entry(who, event, op string, number int, kind string, c *Call, version int, reason string) {
	s.seqs[who]++
	prev := s.hash[who]
	if prev == "" {
		prev = strings.Repeat("0", 64)
	}
	hash := fmt.Sprintf("%064d", s.seqs[who])
	s.hash[who] = hash
	after := map[string]any{}
	source, request := "app", ""
	if c != nil {
		request = c.ID
		r := asks(c)
		after = r.facts()
		if d := r.register; d != nil {
			after[devicePath+r.device] = map[string]any{"platform": d.Platform, "permission": d.Permission, "enabled": true, "token_fingerprint": Fingerprint(d.Token)}
		}
	}
	e := map[string]any{"seq": s.seqs[who], "event": event, "at": s.now.Format(time.RFC3339Nano), "operation": op, "number": number, "kind": kind,
		"after": after, "before": map[string]any{}, "version": version, "prev_hash": prev, "hash": hash, "not_undone": []string{},
		"origin": map[string]any{"source": source, "request_id": request}}
	if reason != "" {
		e["reason"] = map[string]any{"code": reason}
	}
	raw, err := json.Marshal(e)
	require.NoError(s.t, err)
	st := s.standing(who)
	st.Ledger = append(st.Ledger, raw)
}

// change is one that is accepted and applied, and told so.
func (s *story) change(who, method, path, body string, version int, headers ...string) *Call {
	s.nums[who]++
	n := s.nums[who]
	op := fmt.Sprintf("op-%s-%d", who, n)
	c := s.call(who, method, path, body, 200, "", headers...)
	c.Given["Accord-Operation"] = op
	kind := "grant"
	if asks(c).withdraws() {
		kind = "withdrawal"
	}
	s.entry(who, "requested", op, n, kind, c, version-1, "")
	s.entry(who, "applied", op, n, kind, c, version, "")
	return c
}

// edit changes an entry of the ledger that was written.
func (s *story) edit(who string, index int, change func(map[string]any)) {
	st := s.standing(who)
	var e map[string]any
	require.NoError(s.t, json.Unmarshal(st.Ledger[index], &e))
	change(e)
	raw, err := json.Marshal(e)
	require.NoError(s.t, err)
	st.Ledger[index] = raw
}

// judged is the report, with the history written and read as it is on disk.
func (s *story) judged() *Report {
	s.t.Helper()
	var text strings.Builder
	enc := json.NewEncoder(&text)
	for _, c := range s.calls {
		require.NoError(s.t, enc.Encode(c))
	}
	for _, h := range s.heard {
		require.NoError(s.t, enc.Encode(h))
	}
	h, err := Read(strings.NewReader(text.String()))
	require.NoError(s.t, err)
	if s.final.At.IsZero() {
		s.final.At = s.later(time.Minute)
	}
	return Check(h, &s.final)
}

func (r *Report) broken() []string {
	out := []string{}
	seen := map[string]bool{}
	for _, v := range r.Violations {
		if !seen[v.Rule] {
			seen[v.Rule] = true
			out = append(out, v.Rule)
		}
	}
	return out
}

// phoneAndNews is a customer with a phone who has switched news on, then promotions on and off, and everything agrees.
func phoneAndNews(t *testing.T) *story {
	t.Helper()
	s := tell(t)
	s.change("ada", "PUT", "/v1/devices/phone", `{"platform":"ios","token":"t","permission":"granted"}`, 1, "Idempotency-Key", "k1")
	s.change("ada", "PATCH", "/v1/preferences/push", `{"channels":{"news":{"enabled":true}}}`, 2, "If-Match", `"1"`)
	s.change("ada", "PATCH", "/v1/preferences/push", `{"channels":{"promotions":{"enabled":true}}}`, 3)
	s.change("ada", "PATCH", "/v1/preferences/push", `{"channels":{"promotions":{"enabled":false}}}`, 4)
	st := s.standing("ada")
	st.Preferences = json.RawMessage(`{"version":4,"push":` + adasPush + `,"email":{"marketing":{"status":"unsubscribed"},"version":4}}`)
	st.Vendors = json.RawMessage(adasVendors)
	return s
}

var adasPush = `{"enabled":true,"version":4,"channels":{"promotions":{"enabled":false},"loyalty":{"enabled":false},"news":{"enabled":true},"order_updates":{"enabled":true}},"devices":[{"device_id":"phone","platform":"ios","permission":"granted","enabled":true,"channels":{},"token_fingerprint":"` + Fingerprint("t") + `"}],"effective":[{"channel":"news","device_id":"phone","deliverable":true,"blocked_by":[]},{"channel":"promotions","device_id":"phone","deliverable":false,"blocked_by":["channel_disabled"]}]}`

const adasVendors = `{"crm":{"email_marketing":"unsubscribed","channels":{"promotions":"unsubscribed","loyalty":"unsubscribed","news":"subscribed","order_updates":"subscribed"}},"push":{"devices":[{"token":"t","enabled":true}]},"cmp":{"purposes":{"push-marketing":"withdrawn","email-marketing":"unknown"}}}`

// replaced changes text in what is told, and fails when it is not there.
func replaced(t *testing.T, raw json.RawMessage, old, with string) json.RawMessage {
	t.Helper()
	require.Contains(t, string(raw), old)
	return json.RawMessage(strings.Replace(string(raw), old, with, 1))
}

// link is one made for an e-mail to the customer.
func (s *story) link(who, token string) {
	c := s.call("mailer", "POST", "/v1/customers/"+who+"/unsubscribe-links", "", 200, `{"url":"https://shop.example/u/`+token+`"}`)
	c.Scope, c.About = "preferences:write", who
}

// follow is somebody who follows it and is told that it has unsubscribed them.
func (s *story) follow(who, token string) *Call {
	c := s.call("", "POST", "/u/"+token, "", 200, "")
	c.About = who
	return c
}

// unsubscribe is ada's withdrawal by a link, in the ledger and everywhere else.
func (s *story) unsubscribe() {
	for _, event := range []string{"requested", "applied"} {
		s.entry("ada", event, "op-link", 5, "withdrawal", nil, 5, "")
		s.edit("ada", len(s.standing("ada").Ledger)-1, func(e map[string]any) {
			e["origin"] = map[string]any{"source": "email_link"}
			e["after"] = map[string]any{"email.marketing": "unsubscribed", "purposes.email-marketing": "withdrawn"}
		})
	}
	st := s.standing("ada")
	st.Preferences = json.RawMessage(strings.ReplaceAll(string(st.Preferences), `"version":4`, `"version":5`))
	st.Vendors = replaced(s.t, st.Vendors, `"email-marketing":"unknown"`, `"email-marketing":"withdrawn"`)
}
