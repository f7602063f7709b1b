package checker

import (
	"encoding/json"
	"net/url"
	"strings"
)

// request is what a change asked for, read from what was sent.
type request struct {
	call     *Call
	push     *bool
	channels map[string]bool
	quiet    *string // hours, "" for none from now on; nil where nothing is said of them
	email    string  // subscribed, unsubscribed or empty
	device   string  // that it is about
	register *device
	enabled  *bool // of the device
	topics   map[string]bool
	release  bool
}

// device is what is known of a registered one.
type device struct {
	Platform   string
	Token      string
	Permission string
	Enabled    bool
	Channels   map[string]bool
}

// asks reads a change of preferences, nil for any other call.
func asks(c *Call) *request {
	path, _, _ := strings.Cut(c.Path, "?")
	r := &request{call: c}
	var body struct {
		Enabled   *bool           `json:"enabled"`
		Channels  map[string]flip `json:"channels"`
		Quiet     json.RawMessage `json:"quiet_hours"`
		Marketing struct {
			Status string `json:"status"`
		} `json:"marketing"`
		Platform   string `json:"platform"`
		Token      string `json:"token"`
		Permission string `json:"permission"`
	}
	if len(c.Body) > 0 && json.Unmarshal(c.Body, &body) != nil {
		return nil
	}
	switch id, isDevice := strings.CutPrefix(path, "/v1/devices/"); {
	case c.Method == "PATCH" && path == "/v1/preferences/push":
		r.push, r.channels, r.quiet = body.Enabled, plain(body.Channels), asksQuiet(body.Quiet)
	case c.Method == "PATCH" && path == "/v1/preferences/email":
		r.email = body.Marketing.Status
	case isDevice && c.Method == "PUT":
		r.device, _ = url.PathUnescape(id)
		r.register = &device{Platform: body.Platform, Token: body.Token, Permission: body.Permission}
	case isDevice && c.Method == "PATCH":
		r.device, _ = url.PathUnescape(id)
		r.enabled, r.topics = body.Enabled, plain(body.Channels)
	case isDevice && c.Method == "DELETE":
		r.device, _ = url.PathUnescape(id)
		r.release = true
	default:
		return nil
	}
	return r
}

// flip is `{"enabled":true}` or `true` for short.
type flip bool

func (f *flip) UnmarshalJSON(b []byte) error {
	var long struct {
		Enabled bool `json:"enabled"`
	}
	if err := json.Unmarshal(b, (*bool)(f)); err == nil {
		return nil
	}
	err := json.Unmarshal(b, &long)
	*f = flip(long.Enabled)
	return err
}

func plain(in map[string]flip) map[string]bool {
	out := map[string]bool{}
	for k, v := range in {
		out[k] = bool(v)
	}
	return out
}

func (d *device) delivers() bool { return d.Permission == "granted" || d.Permission == "provisional" }

// withdraws tells a change that says "off" anywhere.
func (r *request) withdraws() bool {
	off := r.release || r.quiet != nil && *r.quiet != "" || r.email == "unsubscribed" || r.push != nil && !*r.push || r.enabled != nil && !*r.enabled ||
		r.register != nil && !r.register.delivers()
	for _, m := range []map[string]bool{r.channels, r.topics} {
		for _, on := range m {
			off = off || !on
		}
	}
	return off
}

// withholds tells whether nothing may go out on the channel to the device while this withdrawal is under way.
func (r *request) withholds(channel, id string) bool {
	named := func(m map[string]bool) bool { on, is := m[channel]; return is && !on }
	switch {
	case r.push != nil && !*r.push, named(r.channels):
		return true
	case r.device != id || r.device == "":
		return false
	}
	return r.release || r.enabled != nil && !*r.enabled || r.register != nil && !r.register.delivers() || named(r.topics)
}

// same tells whether two requests under one key are the same one: method, path and meaning of the body.
func same(a, b *Call) bool {
	return a.Method == b.Method && a.Path == b.Path && canonical(a.Body) == canonical(b.Body)
}

func canonical(raw []byte) string {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	out, _ := json.Marshal(v) // what was just decoded can be encoded
	return string(out)
}
