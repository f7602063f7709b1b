package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// message is one in an answer.
type message struct {
	ID       string     `json:"id"`
	Title    string     `json:"title"`
	Audience string     `json:"audience"`
	Seen     *time.Time `json:"seen_at"`
	Read     *time.Time `json:"read_at"`
	Clicked  *time.Time `json:"clicked_at"`
	Archived *time.Time `json:"archived_at"`
}

// receipt in words, for comparing.
func (m message) receipt() string {
	out := ""
	for word, at := range map[string]*time.Time{"seen": m.Seen, "read": m.Read, "clicked": m.Clicked, "archived": m.Archived} {
		if at != nil {
			out += word
		}
	}
	return sorted(out)
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

type page struct {
	call     *Call
	Messages []message `json:"messages"`
	Upserts  []message `json:"upserts"`
	Removals []string  `json:"removals"`
	Next     *string   `json:"next_cursor"`
	Counts   struct {
		Total  int `json:"total"`
		Unseen int `json:"unseen"`
		Unread int `json:"unread"`
	} `json:"counts"`
	Version   string `json:"version"`
	HasMore   bool   `json:"has_more"`
	Freshness struct {
		AsOf *time.Time `json:"as_of"`
	} `json:"freshness"`
}

// publication is a message by its title, which its publisher gave to no other.
type publication struct {
	title    string
	calls    []*Call         // that put it in
	global   bool            // for everybody
	ids      map[string]bool // else for these
	upstream bool            // published in the engagement platform
	done     time.Time       // when it was known to be in; zero when it never was
	edits    []*Call
	retracts []*Call
}

func (p *publication) reaches(viewer string) bool { return p.global || p.ids[viewer] }

// inboxes judges everything about messages.
func (k *check) inboxes() {
	pubs, byID := k.publications()
	sessions := map[string][]*page{}
	receipts := k.receipts()
	seen := map[string]map[string]*Call{} // viewer, message: when it was seen first
	for _, c := range k.history.Calls {
		pg := reading(c)
		if pg == nil {
			continue
		}
		for _, m := range append(slices.Clone(pg.Messages), pg.Upserts...) {
			k.own(pubs, pg, m)
			k.receipt(receipts, pg, m)
			if pub := byID[m.ID]; pub != nil {
				k.gone(pub, pg, m)
			}
			if seen[c.Customer] == nil {
				seen[c.Customer] = map[string]*Call{}
			}
			if seen[c.Customer][m.Title] == nil {
				seen[c.Customer][m.Title] = c
			}
		}
		if c.Method == "GET" && whole(c) && pg.Next == nil {
			k.counts(pg, pg.Messages)
		}
		session := c.Session
		if session == "" {
			session = c.ID
		}
		sessions[session] = append(sessions[session], pg)
	}
	for _, s := range slices.Sorted(maps.Keys(sessions)) {
		pages := sessions[s]
		slices.SortStableFunc(pages, func(a, b *page) int { return a.call.Invoked.Compare(b.call.Invoked) })
		k.session(pages, pubs, seen[pages[0].call.Customer])
		k.mirror(pages)
	}
	for _, p := range k.people() {
		k.atTheEnd(p, pubs)
	}
	k.streams()
	k.soon()
}

// reading is an answer that shows messages or counts, nil for any other call.
func reading(c *Call) *page {
	path, _, _ := strings.Cut(c.Path, "?")
	if c.Status != 200 || path != "/v1/inbox" && path != "/v1/inbox/changes" && path != "/v1/inbox/refresh" {
		return nil
	}
	pg := &page{call: c}
	if json.Unmarshal(c.Answer, pg) != nil {
		return nil
	}
	return pg
}

// whole tells a reading from the start of all there is.
func whole(c *Call) bool {
	path, query, _ := strings.Cut(c.Path, "?")
	q, _ := url.ParseQuery(query)
	return path == "/v1/inbox" && !q.Has("cursor") && !q.Has("category") && !q.Has("state")
}

func cursor(c *Call) string {
	_, query, _ := strings.Cut(c.Path, "?")
	q, _ := url.ParseQuery(query)
	return q.Get("cursor")
}

func (k *check) publications() (byTitle, byID map[string]*publication) {
	byTitle, byID = map[string]*publication{}, map[string]*publication{}
	for _, c := range k.history.Calls {
		path, _, _ := strings.Cut(c.Path, "?")
		if c.Method != "POST" || path != "/v1/messages" && path != "/_sandbox/messages" {
			continue
		}
		var body struct {
			Title    string `json:"title"`
			Audience struct {
				Type string   `json:"type"`
				IDs  []string `json:"ids"`
			} `json:"audience"`
		}
		if json.Unmarshal(c.Body, &body) != nil {
			continue
		}
		p := byTitle[body.Title]
		if p == nil {
			p = &publication{title: body.Title, global: body.Audience.Type == "global", ids: map[string]bool{}, upstream: c.To == "sandbox"}
			byTitle[body.Title] = p
		}
		for _, id := range body.Audience.IDs {
			p.ids[id] = true
		}
		p.calls = append(p.calls, c)
		if c.Status == 200 || c.Status == 201 {
			var answer struct {
				ID string `json:"id"`
			}
			_ = json.Unmarshal(c.Answer, &answer) // without an id nobody can edit or retract it
			byID[answer.ID] = p
			if p.done.IsZero() || c.Answered.Before(p.done) {
				p.done = c.Answered
			}
		}
	}
	for _, c := range k.history.Calls {
		id, is := strings.CutPrefix(c.Path, "/v1/messages/")
		if p := byID[id]; is && p != nil {
			switch c.Method {
			case "PATCH":
				p.edits = append(p.edits, c)
			case "DELETE":
				p.retracts = append(p.retracts, c)
			}
		}
	}
	return byTitle, byID
}

// own: the message is one that somebody published for this viewer.
func (k *check) own(pubs map[string]*publication, pg *page, m message) {
	k.held(RuleMessages)
	p := pubs[m.Title]
	switch {
	case p == nil:
		k.violated(RuleMessages, pg.call.Customer, "messages that somebody published", m.ID+": "+m.Title, pg.call)
	case !p.reaches(pg.call.Customer):
		k.violated(RuleMessages, pg.call.Customer, "messages for this viewer", m.ID+" is for others", p.calls[0], pg.call)
	case pg.call.Answered.Before(p.calls[0].Invoked):
		k.violated(RuleMessages, pg.call.Customer, "no message before it was published", m.ID, p.calls[0], pg.call)
	}
}

// gone: what was retracted is in no feed that is read afterwards. Anonymous callers share a copy, which may be as old as a
// feed may be.
func (k *check) gone(p *publication, pg *page, m message) {
	for _, r := range p.retracts {
		late := r.Status >= 200 && r.Status < 300 && r.before(pg.call)
		if pg.call.Customer == "" {
			late = late && pg.call.Invoked.Sub(r.Answered) > FreshWithin
		}
		if !late {
			continue
		}
		k.held(RuleGone)
		k.violated(RuleGone, pg.call.Customer, m.ID+" was retracted", "it is in the feed", p.calls[0], r, pg.call)
		return
	}
	if len(p.retracts) > 0 {
		k.held(RuleGone)
	}
}

func (k *check) counts(pg *page, list []message) {
	k.held(RuleCounts)
	unseen, unread := 0, 0
	for _, m := range list {
		if m.Seen == nil {
			unseen++
		}
		if m.Read == nil {
			unread++
		}
	}
	if pg.Counts.Total != len(list) || pg.Counts.Unseen != unseen || pg.Counts.Unread != unread {
		k.violated(RuleCounts, pg.call.Customer, fmt.Sprintf("the counts of the list: %d, %d unseen, %d unread", len(list), unseen, unread),
			fmt.Sprintf("%d, %d unseen, %d unread, in version %s", pg.Counts.Total, pg.Counts.Unseen, pg.Counts.Unread, pg.Version), pg.call)
	}
}

// session judges one reading from the first page to the last.
func (k *check) session(pages []*page, pubs map[string]*publication, seen map[string]*Call) {
	var run []*page
	for _, pg := range pages {
		switch {
		case whole(pg.call):
			run = []*page{pg}
		case len(run) > 0 && cursor(pg.call) != "" && run[len(run)-1].Next != nil && cursor(pg.call) == *run[len(run)-1].Next:
			run = append(run, pg)
		default:
			continue
		}
		if pg.Next == nil {
			k.reading(run, pubs, seen)
			run = nil
		}
	}
}

// reading judges pages that make up one whole list.
func (k *check) reading(run []*page, pubs map[string]*publication, seen map[string]*Call) {
	k.held(RulePaging)
	first, last := run[0].call, run[len(run)-1].call
	calls := func(more ...*Call) []*Call {
		for _, pg := range run {
			more = append(more, pg.call)
		}
		return more
	}
	there := map[string]bool{}
	var list []message
	oneVersion := true
	for _, pg := range run {
		oneVersion = oneVersion && pg.Version == run[0].Version
		for _, m := range pg.Messages {
			if there[m.Title] && !k.movedWhile(pubs[m.Title], first, last) {
				k.violated(RulePaging, first.Customer, "each message once", m.ID+" twice", calls()...)
			}
			there[m.Title] = true
			list = append(list, m)
		}
	}
	if oneVersion && len(run) > 1 {
		k.counts(run[0], list)
	}
	for _, title := range slices.Sorted(maps.Keys(pubs)) {
		p := pubs[title]
		if there[title] || !p.reaches(first.Customer) || k.hidden(p, first.Customer, last) || k.movedWhile(p, first, last) {
			continue
		}
		// Who is not signed in is answered from a process' memory, within the bound; another process may have shown it before.
		elsewhere := first.Customer == "" && !p.overdue(run[0])
		if c := seen[title]; c != nil && c.before(first) && !(elsewhere && c.Session != first.Session) {
			k.violated(RulePaging, first.Customer, fmt.Sprintf("%q, which was there before", title), "it was skipped", calls(append(slices.Clone(p.calls), c)...)...)
		} else if p.overdue(run[0]) {
			k.held(RuleFresh)
			k.violated(RuleFresh, first.Customer, fmt.Sprintf("%q, published at %s", title, p.done.Format(time.RFC3339Nano)), "it is not there", calls(p.calls...)...)
		}
	}
	for title := range there {
		if p := pubs[title]; p != nil && p.overdue(run[0]) {
			k.held(RuleFresh)
		}
	}
}

// overdue tells that a reading has to show the message: an upstream one as soon as the answer says that it was asked since, a
// published one within the bound.
func (p *publication) overdue(pg *page) bool {
	if p.done.IsZero() {
		return false
	}
	if p.upstream {
		return pg.Freshness.AsOf != nil && pg.Freshness.AsOf.After(p.done)
	}
	return pg.call.Invoked.Sub(p.done) > FreshWithin
}

// hidden tells that the message may be out of the list by then: somebody has begun to retract it, or the viewer to archive it.
func (k *check) hidden(p *publication, viewer string, last *Call) bool {
	if slices.ContainsFunc(p.retracts, func(c *Call) bool { return c.Invoked.Before(last.Answered) }) {
		return true
	}
	person := k.customers[viewer]
	return person != nil && slices.ContainsFunc(person.calls, func(c *Call) bool {
		return strings.Contains(c.Path, "acknowledge") && strings.Contains(string(c.Body), `"archived"`) && c.Invoked.Before(last.Answered)
	})
}

// movedWhile tells that the message may have changed its place during the reading.
func (k *check) movedWhile(p *publication, first, last *Call) bool {
	return p != nil && slices.ContainsFunc(p.edits, func(c *Call) bool {
		return strings.Contains(string(c.Body), `"pinned"`) && c.Invoked.Before(last.Answered) && (!c.answered() || c.Answered.After(first.Invoked))
	})
}

// atTheEnd judges the list that is left.
func (k *check) atTheEnd(p *person, pubs map[string]*publication) {
	for _, raw := range [][]json.RawMessage{p.standing.Inbox, p.standing.Archived} {
		var list []message
		var version string
		oneVersion := true
		var pg page
		for i, r := range raw {
			pg = page{}
			if json.Unmarshal(r, &pg) != nil {
				continue
			}
			oneVersion = oneVersion && (i == 0 || pg.Version == version)
			version = pg.Version
			list = append(list, pg.Messages...)
		}
		if len(raw) == 0 || !oneVersion {
			continue
		}
		pg.call = &Call{ID: "at the end", Customer: p.id, Invoked: k.final.At, Answered: k.final.At, Method: "GET", Path: "/v1/inbox"}
		if &raw[0] == &p.standing.Inbox[0] {
			k.counts(&pg, list)
		}
		ids := map[string]bool{}
		for _, m := range list {
			if ids[m.ID] {
				k.violated(RulePaging, p.id, "each message once", m.ID+" twice, at the end")
			}
			ids[m.ID] = true
			k.own(pubs, &pg, m)
		}
	}
}
