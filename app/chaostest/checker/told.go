package checker

import (
	"encoding/json"
	"strings"
	"time"
)

// told is what a webhook says that a customer has decided elsewhere.
type told struct {
	call   *Call
	source string         // as the ledger has to name it
	event  string         // the same in all deliveries
	at     time.Time      // zero where it does not say when
	items  map[string]any // by the ledger's path; nil for a device that is gone
	token  string         // of the device it is about, if it is about one
}

// outcome is what an event was answered with.
type outcome struct {
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
	Operation string `json:"operation"`
}

// tells reads a webhook of one event, nil for any other call.
func (k *check) tells(c *Call) *told {
	t := &told{call: c, event: c.Header["webhook-id"], items: map[string]any{}}
	if c.Method != "POST" {
		return nil
	}
	switch c.Path {
	case "/v1/webhooks/generic":
		t.source = "external"
		return t.generic(c.Body)
	case "/v1/webhooks/braze":
		t.source = "crm"
		return t.braze(c.Body, k.final.Groups)
	case "/v1/webhooks/onesignal":
		t.source = "push"
		return t.onesignal(c.Body, k.devices)
	}
	return nil
}

func (t *told) generic(body []byte) *told {
	var e struct {
		Data struct {
			At       time.Time       `json:"decided_at"`
			Push     *flip           `json:"push"`
			Channels map[string]flip `json:"channels"`
			Email    struct {
				Marketing struct {
					Status string `json:"status"`
				} `json:"marketing"`
			} `json:"email"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	t.at = e.Data.At
	if e.Data.Push != nil {
		t.items["push.enabled"] = bool(*e.Data.Push)
	}
	for key, on := range e.Data.Channels {
		t.items["push.channels."+key] = bool(on)
	}
	if s := e.Data.Email.Marketing.Status; s != "" {
		t.items[emailPath] = s
	}
	return t
}

// braze tells by the second. groups are its names of channels.
func (t *told) braze(body []byte, groups map[string]string) *told {
	var e struct {
		ID     string `json:"id"`
		Type   string `json:"event_type"`
		Time   int64  `json:"time"`
		Group  string `json:"subscription_group_id"`
		Status string `json:"subscription_status"`
	}
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	t.event = e.ID
	if e.Time > 0 {
		t.at = time.Unix(e.Time, 0)
	}
	on := e.Status != "Unsubscribed"
	if strings.HasSuffix(e.Type, ".GlobalStateChange") {
		t.items[emailPath] = map[bool]string{true: "subscribed", false: "unsubscribed"}[on]
		return t
	}
	for channel, id := range groups {
		if id == e.Group {
			t.items["push.channels."+channel] = on
		}
	}
	return t
}

// onesignal tells by the second, of a token. devices have them.
func (t *told) onesignal(body []byte, devices map[string]string) *told {
	var e struct {
		ID           string `json:"id"`
		Type         string `json:"type"`
		Time         int64  `json:"timestamp"`
		Subscription struct {
			Token   string `json:"token"`
			Enabled bool   `json:"enabled"`
		} `json:"subscription"`
	}
	if json.Unmarshal(body, &e) != nil {
		return nil
	}
	if t.event = e.ID; e.Time > 0 {
		t.at = time.Unix(e.Time, 0)
	}
	if t.token = e.Subscription.Token; devices[t.token] == "" {
		return t // of nobody
	}
	path := devicePath + devices[t.token]
	switch e.Type {
	case "subscription.invalid":
		t.items[path] = nil
	case "subscription.changed":
		t.items[path] = e.Subscription.Enabled
	default:
		t.items[path] = false
	}
	return t
}

// devicePath is what the ledger calls devices.
const devicePath = "devices."

// answer is what became of the event, false when that was not told.
func (t *told) answer() (outcome, bool) {
	var a struct {
		Events []outcome `json:"events"`
	}
	if t.call.Status != 200 || json.Unmarshal(t.call.Answer, &a) != nil || len(a.Events) != 1 {
		return outcome{}, false
	}
	return a.Events[0], true
}

// asks is the part of what was told that a change speaks about: what had been superseded is left out of it.
func (t *told) asks(after map[string]any) *request {
	r := &request{call: t.call, channels: map[string]bool{}}
	for path, value := range t.items {
		if _, is := after[path]; !is {
			continue
		}
		key, isChannel := strings.CutPrefix(path, "push.channels.")
		id, isDevice := strings.CutPrefix(path, devicePath)
		on, _ := value.(bool)
		switch {
		case isChannel:
			r.channels[key] = on
		case isDevice && value == nil:
			r.device, r.release = id, true
		case isDevice:
			r.device, r.enabled = id, &on
		case path == "push.enabled":
			r.push = &on
		case path == emailPath:
			r.email, _ = value.(string)
		}
	}
	return r
}

// off tells a value that lets us send less.
func off(value any) bool { return value == false || value == "unsubscribed" }
