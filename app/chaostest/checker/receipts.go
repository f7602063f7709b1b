package checker

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// acknowledged is what a viewer was told to have done with a message, once and for all.
type acknowledgements struct {
	forward []*Call // with the state that each has acknowledged
	states  []string
	back    bool // something was taken back at some time: then nothing is known
}

// receipts collects them: viewer and message to what was acknowledged.
func (k *check) receipts() map[[2]string]*acknowledgements {
	out := map[[2]string]*acknowledgements{}
	for _, c := range k.history.Calls {
		if c.Method != "POST" || c.Customer == "" || c.Scope != "" {
			continue
		}
		for id, state := range acknowledges(c) {
			a := out[[2]string{c.Customer, id}]
			if a == nil {
				a = &acknowledgements{}
				out[[2]string{c.Customer, id}] = a
			}
			a.back = a.back || strings.HasPrefix(state, "un")
			if c.Status == 200 {
				a.forward, a.states = append(a.forward, c), append(a.states, state)
			}
		}
	}
	return out
}

// acknowledges reads which states a call is about, by message.
func acknowledges(c *Call) map[string]string {
	out := map[string]string{}
	if rest, is := strings.CutPrefix(c.Path, "/v1/inbox/messages/"); is {
		var body struct {
			State string `json:"state"`
		}
		if id, is := strings.CutSuffix(rest, "/acknowledge"); is && json.Unmarshal(c.Body, &body) == nil {
			id, _ = url.PathUnescape(id)
			out[id] = body.State
		}
		return out
	}
	if c.Path != "/v1/inbox/acknowledge" {
		return out
	}
	var body, answer struct {
		Items []struct {
			ID     string `json:"id"`
			State  string `json:"state"`
			Status string `json:"status"`
		} `json:"items"`
	}
	_, _ = json.Unmarshal(c.Body, &body), json.Unmarshal(c.Answer, &answer) // no items then
	missing := map[string]bool{}
	for _, i := range answer.Items {
		missing[i.ID] = i.Status == "not_found"
	}
	for _, i := range body.Items {
		if !missing[i.ID] {
			out[i.ID] = i.State
		}
	}
	return out
}

// receipt: a message shows at least what was acknowledged before it was asked for.
func (k *check) receipt(all map[[2]string]*acknowledgements, pg *page, m message) {
	a := all[[2]string{pg.call.Customer, m.ID}]
	if a == nil || a.back {
		return
	}
	for i, c := range a.forward {
		if !c.before(pg.call) {
			continue
		}
		k.held(RuleReceipts)
		has := map[string]bool{"seen": m.Seen != nil, "read": m.Seen != nil && m.Read != nil,
			"clicked": m.Seen != nil && m.Read != nil && m.Clicked != nil, "archived": m.Archived != nil}[a.states[i]]
		if !has {
			k.violated(RuleReceipts, pg.call.Customer, fmt.Sprintf("%s stays %s", m.ID, a.states[i]), "it is "+m.receipt(), c, pg.call)
			return
		}
	}
}

// mirror follows a client that keeps its own copy: the list of one version, and the changes since, have to lead to the list of
// a later version.
func (k *check) mirror(pages []*page) {
	var copied map[string]message
	var version string
	var run []*page
	var calls []*Call
	for _, pg := range pages {
		calls = append(calls, pg.call)
		switch {
		case strings.HasPrefix(pg.call.Path, "/v1/inbox/changes"):
			if _, since, _ := strings.Cut(pg.call.Path, "since="); copied == nil || since != version {
				copied = nil
				continue
			}
			for _, id := range pg.Removals {
				delete(copied, id)
			}
			for _, m := range pg.Upserts {
				if delete(copied, m.ID); m.Archived == nil {
					copied[m.ID] = m
				}
			}
			version = pg.Version
			if !pg.HasMore {
				k.held(RuleChanges)
				if pg.Counts.Total != len(copied) {
					k.violated(RuleChanges, pg.call.Customer, fmt.Sprintf("changes that lead to the %d messages of version %s", pg.Counts.Total, version),
						fmt.Sprintf("%d", len(copied)), calls...)
					copied = nil
				}
			}
		case whole(pg.call):
			run = []*page{pg}
		case len(run) > 0 && cursor(pg.call) != "":
			run = append(run, pg)
		default:
			continue
		}
		if list := listOf(run); list != nil && !strings.HasPrefix(pg.call.Path, "/v1/inbox/changes") && pg.Next == nil {
			if copied != nil && version == run[0].Version {
				k.held(RuleChanges)
				if diff := differ(copied, list); diff != "" {
					k.violated(RuleChanges, pg.call.Customer, "the copy of version "+version+" is the list of it", diff, calls...)
				}
			}
			copied, version, run = list, run[0].Version, nil
		}
	}
}

// listOf is the whole list, nil when it is of more than one version.
func listOf(run []*page) map[string]message {
	if len(run) == 0 {
		return nil
	}
	out := map[string]message{}
	for _, pg := range run {
		if pg.Version != run[0].Version {
			return nil
		}
		for _, m := range pg.Messages {
			out[m.ID] = m
		}
	}
	return out
}

func differ(copied, list map[string]message) string {
	for id, m := range list {
		if c, is := copied[id]; !is {
			return id + " is not in the copy"
		} else if c.receipt() != m.receipt() {
			return fmt.Sprintf("%s is %q in the copy and %q in the list", id, c.receipt(), m.receipt())
		}
	}
	for id := range copied {
		if _, is := list[id]; !is {
			return id + " is in the copy alone"
		}
	}
	return ""
}
