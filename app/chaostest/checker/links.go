package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// linkClock is how exactly a link knows when it was made.
const linkClock = 2 * time.Second

// followed: when somebody was told that a link in an e-mail has unsubscribed them, it has. A change of theirs that did the same
// after the link was made will do.
func (k *check) followed(p *person) {
	made := map[string]*Call{}
	for _, c := range p.others {
		var answer struct {
			URL string `json:"url"`
		}
		if strings.HasSuffix(c.Path, "/unsubscribe-links") {
			if _, path, is := strings.Cut(c.urlOf(&answer), "/u/"); is && c.Status == 200 {
				made["/u/"+path] = c
			}
			continue
		}
		if c.Method != "POST" || c.Status != 200 || !strings.HasPrefix(c.Path, "/u/") {
			continue
		}
		k.held(RuleWithdrawal)
		link := made[c.Path]
		if link == nil {
			k.violated(RuleWithdrawal, p.id, "404 for a link that nobody made", "200", c)
			continue
		}
		if !p.unsubscribedBetween(link.Invoked.Add(-linkClock), c.Answered) {
			k.violated(RuleWithdrawal, p.id, fmt.Sprintf("a withdrawal of e-mail marketing between %s and %s", link.Invoked.Format(time.RFC3339Nano), c.Answered.Format(time.RFC3339Nano)),
				"the ledger has none", link, c)
		}
	}
}

func (c *Call) urlOf(answer *struct {
	URL string `json:"url"`
}) string {
	_ = json.Unmarshal(c.Answer, answer) // no link then
	return answer.URL
}

func (p *person) unsubscribedBetween(from, to time.Time) bool {
	for _, o := range p.order {
		at := o.requested.At
		if o.requested.After["email.marketing"] == "unsubscribed" && o.kind == "withdrawal" && !at.Before(from) && !at.After(to) {
			return true
		}
	}
	return false
}
