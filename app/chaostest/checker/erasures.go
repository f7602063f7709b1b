package checker

import (
	"encoding/json"
	"fmt"
	"strings"
)

// erased: of somebody whose erasure was accepted nothing is held any more, anywhere, but for the proof of it. True when this is
// such a person, to whom no other rule applies: there is nothing left to hold against anything. One whose erasure an operator
// took back is none.
func (k *check) erased(p *person) bool {
	var asked *Call
	for _, c := range p.others {
		if c.Method == "DELETE" && strings.HasPrefix(c.Path, "/v1/customers/") && (c.Status == 200 || c.Status == 202) {
			asked = c
		}
	}
	if asked == nil {
		return false
	}
	var said struct {
		Proof struct {
			Status  string `json:"status"`
			Targets map[string]struct {
				State string `json:"state"`
			} `json:"targets"`
			Ledger *struct {
				Chain   string `json:"chain"`
				Entries int64  `json:"entries"`
			} `json:"ledger"`
		} `json:"proof"`
		Export struct {
			Operations []json.RawMessage `json:"operations"`
			Ledger     []json.RawMessage `json:"ledger"`
			Activity   []json.RawMessage `json:"activity"`
		} `json:"export"`
	}
	_ = json.Unmarshal(k.final.Erasures[p.id], &said) // it is not erased then
	if said.Proof.Status == "compensated" {
		return false
	}
	k.held(RuleErased)
	wrong := func(expected, found string) {
		k.violated(RuleErased, p.id, expected, found, append(p.changesOf(""), asked)...)
	}
	switch l := said.Proof.Ledger; {
	case said.Proof.Status != "erased":
		wrong("erased", fmt.Sprintf("it is %q", said.Proof.Status))
	case l == nil || l.Chain == "" || l.Entries < 2 || strings.Contains(l.Chain, p.id):
		wrong("a proof under a pseudonym: what there was, and the erasure", fmt.Sprintf("%+v", l))
	}
	if len(said.Export.Operations)+len(said.Export.Ledger)+len(said.Export.Activity)+len(p.standing.Ledger) > 0 {
		wrong("nothing is kept", shortened(k.final.Erasures[p.id]))
	}
	nobody := defaults()
	if s := showsAll(p.standing.Preferences); s == nil || s.version != 0 || s.differs(nobody) != "" {
		wrong("what holds for somebody nobody has heard of", shortened(p.standing.Preferences))
	}
	for _, v := range nobody.vendors(p, p.standing.Vendors) {
		wrong(v[0], v[1])
	}
	if strings.Contains(string(p.standing.Vendors), `subscribed"`) {
		wrong("the CRM has not heard of them either", shortened(p.standing.Vendors))
	}
	return true
}
