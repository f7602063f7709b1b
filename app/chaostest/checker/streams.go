package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// HeardWithin is how long a stream that stays open may take to tell of what was published when nothing is disturbed.
const HeardWithin = 15 * time.Second

// streams: who has listened to the end was told of the version that there is.
func (k *check) streams() {
	last := map[string]*Heard{}
	for _, h := range k.history.Heard {
		if h.Kind == "inbox.changed" {
			last[h.Stream] = h
		}
	}
	for _, stream := range slices.Sorted(maps.Keys(last)) {
		h := last[stream]
		p := k.customers[h.Customer]
		if p == nil || len(p.standing.Inbox) == 0 {
			continue
		}
		k.held(RuleStream)
		var now, heard page
		if json.Unmarshal(p.standing.Inbox[0], &now) != nil || json.Unmarshal([]byte(h.Data), &heard) != nil || now.Version != heard.Version {
			k.violated(RuleStream, h.Customer, "word of version "+now.Version, fmt.Sprintf("the last that the stream heard, at %s: %s", h.At.Format(time.RFC3339Nano), h.Data))
		}
	}
}

// soon: a stream tells of what is published while it is open. One that only learns of it when it begins anew is of no use.
func (k *check) soon() {
	open, heard := map[string]time.Time{}, map[string][]*Heard{}
	var streams []string
	type span struct {
		from, to time.Time
	}
	spans := map[string][]span{}
	for _, h := range k.history.Heard {
		switch h.Kind {
		case StreamBegins:
			open[h.Stream] = h.At
		case StreamEnds:
			spans[h.Stream] = append(spans[h.Stream], span{open[h.Stream], h.At})
			delete(open, h.Stream)
		case "inbox.changed":
			heard[h.Stream] = append(heard[h.Stream], h)
		}
		if !slices.Contains(streams, h.Stream) {
			streams = append(streams, h.Stream)
		}
	}
	for _, c := range k.history.Calls {
		if c.Invoked.Before(k.final.Healed) || k.final.Healed.IsZero() || c.Method != "POST" || c.Path != "/v1/messages" || c.Status != 201 {
			continue
		}
		until := c.Answered.Add(HeardWithin)
		for _, stream := range streams {
			if !slices.ContainsFunc(spans[stream], func(s span) bool { return s.from.Before(c.Invoked.Add(-sameClock)) && s.to.After(until) }) {
				continue
			}
			k.held(RuleStream)
			if !slices.ContainsFunc(heard[stream], func(h *Heard) bool { return h.At.After(c.Invoked) && h.At.Before(until) }) {
				k.violated(RuleStream, "", fmt.Sprintf("%s, which stayed open, tells of it within %s", stream, HeardWithin), "it says nothing", c)
			}
		}
	}
}
