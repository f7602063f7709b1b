// Package onesignal keeps a customer's devices and channel choices in OneSignal: a device is a push subscription of the
// user whose external_id is the customer, a channel is the tag channel_<key> with the value on or off; quiet hours are a tag
// and the user's time zone.
//
// A (type, token) pair exists once per app, so adding a token that somebody else has moves it. Some calls are answered
// before they are applied (202); the caller reads back.
package onesignal

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"accord/domain/preference"
	"accord/ports"
)

// CredentialStatuses are the answers to a bad key: OneSignal says 403 "Access denied" where others say 401. For the
// outbound policy of the API given to New.
var CredentialStatuses = []int{http.StatusUnauthorized, http.StatusForbidden}

// QuietHoursTag is the tag that holds the customer's quiet hours, as in "22:00-07:00 Europe/Zurich". Their zone is the user's
// timezone_id too, which is what OneSignal's deliveries by local time go by.
const QuietHoursTag = "quiet_hours"

// TagPrefix starts the name of the tag that holds a channel.
const TagPrefix = "channel_"

// OneSignal implements ports.TargetSystem. It is safe for concurrent use.
type OneSignal struct {
	api ports.VendorAPI
	app string // path of the app
}

var _ ports.TargetSystem = (*OneSignal)(nil)

// Config names the app.
type Config struct{ AppID string }

// New speaks through api, which adds "Authorization: Key <app REST API key>" to each call.
func New(api ports.VendorAPI, cfg Config) (*OneSignal, error) {
	if cfg.AppID == "" {
		return nil, errors.New("onesignal: AppID is required")
	}
	return &OneSignal{api: api, app: "/apps/" + url.PathEscape(cfg.AppID)}, nil
}

// Name is preference.Push.
func (*OneSignal) Name() preference.Target { return preference.Push }

// Read answers push subscriptions and channel tags. Other kinds of subscriptions and other tags are not ours.
func (o *OneSignal) Read(ctx context.Context, customer preference.CustomerID) (preference.Holding, error) {
	user, err := o.find(ctx, customer)
	if err != nil {
		return nil, err
	}
	held := preference.Holding{}
	if user == nil {
		return held, nil
	}
	for _, s := range user.Subscriptions {
		item := preference.Item{Kind: preference.DeviceItem, Key: s.Token}
		if s.isPush() { // a token that is there under two types delivers if either does
			held[item] = livelier(held[item], s.state())
		}
	}
	for tag, value := range user.Properties.Tags {
		channel, ours := strings.CutPrefix(tag, TagPrefix)
		if state := tagState(value); ours && state != preference.Unknown {
			held[preference.Item{Kind: preference.ChannelItem, Key: channel}] = state
		}
	}
	for kind, said := range map[preference.ItemKind]any{preference.QuietItem: user.Properties.Tags[QuietHoursTag], preference.ZoneItem: user.Properties.Zone} {
		words, _ := said.(string)
		if state, says := preference.InWords(words); says {
			held[preference.Item{Kind: kind}] = state
		}
	}
	maps.DeleteFunc(held, func(i preference.Item, _ preference.State) bool { return !i.Storable() }) // no token or tag of ours
	return held, nil
}

// find answers nil for a user OneSignal has never heard of.
func (o *OneSignal) find(ctx context.Context, customer preference.CustomerID) (*user, error) {
	var found user
	answer, err := o.api.Call(ctx, ports.VendorCall{
		Name: "users.view", Method: http.MethodGet, Path: o.userPath(customer), Out: &found, Expect: []int{http.StatusNotFound},
	})
	if err != nil {
		return nil, err
	}
	if answer.Status == http.StatusNotFound {
		return nil, nil
	}
	return &found, nil
}

func (o *OneSignal) userPath(customer preference.CustomerID) string {
	return o.app + "/users/by/external_id/" + url.PathEscape(string(customer))
}

// Forget deletes the user, and its subscriptions with it.
func (o *OneSignal) Forget(ctx context.Context, customer preference.CustomerID) error {
	_, err := o.api.Call(ctx, ports.VendorCall{
		Name: "users.delete", Method: http.MethodDelete, Path: o.userPath(customer), Write: true, Expect: []int{http.StatusNotFound},
	})
	return err
}

// Write makes a person OneSignal has never heard of with one call, else it sets tags and devices one by one, what sends
// less first: should it fail half-way, it fails on the safe side. It writes also what seems to hold already, because a
// contrary write answered 202 may still be on its way. Neutral and Unknown channels lose their tag; an Unknown device is
// deleted if it is this customer's at this moment, and left alone when it has moved on.
func (o *OneSignal) Write(ctx context.Context, w ports.TargetWrite) error {
	plan, err := o.plan(w)
	if err != nil || plan.empty() {
		return err
	}
	job := &writing{OneSignal: o, plan: plan}
	err = job.run(ctx)
	if errors.Is(err, errMoved) { // something we had just read is gone: look again, once
		job.strict = true
		err = job.run(ctx)
	}
	if failure, is := ports.AsTargetError(err); is && job.wrote && !failure.MaybeDone {
		partly := *failure
		partly.MaybeDone = true
		return &partly
	}
	return err
}

// plan is a write in OneSignal's words.
type plan struct {
	customer preference.CustomerID
	tags     map[string]string // "" removes
	zone     *string           // nil leaves it, "" removes it
	devices  []subscription    // to be there, disabled ones first
	gone     []string          // tokens not to be there
}

func (p plan) empty() bool { return !p.describes() && len(p.devices)+len(p.gone) == 0 }

// describes reports that the write says something about the user beside devices.
func (p plan) describes() bool { return len(p.tags) > 0 || p.zone != nil }

func (o *OneSignal) plan(w ports.TargetWrite) (plan, error) {
	p := plan{customer: w.Customer, tags: map[string]string{}}
	for item, state := range w.Set {
		switch item.Kind {
		case preference.ChannelItem:
			p.tags[TagPrefix+item.Key] = tagValue(state)
		case preference.QuietItem:
			p.tags[QuietHoursTag] = words(state)
		case preference.ZoneItem:
			zone := words(state)
			p.zone = &zone
		case preference.DeviceItem:
			if state != preference.On && state != preference.Off {
				p.gone = append(p.gone, item.Key)
				continue
			}
			p.devices = append(p.devices, desired(item.Key, state == preference.On, w.Devices[item.Key]))
		default:
			return plan{}, refused("unmapped_item")
		}
	}
	slices.Sort(p.gone)
	slices.SortFunc(p.devices, disabledFirst)
	return p, nil
}

// writing is one attempt to carry out a plan.
type writing struct {
	*OneSignal
	plan
	strict bool // a 404 is the vendor's last word
	wrote  bool // something has changed already
}

// errMoved: what was read a moment ago is not there any more.
var errMoved = errors.New("onesignal: changed between reading and writing")

func (w *writing) run(ctx context.Context) error {
	user, err := w.find(ctx, w.customer)
	if err != nil {
		return err
	}
	if user == nil {
		return w.create(ctx)
	}
	if !w.canPut(user) { // before anything is written
		return refused("unknown_device")
	}
	for _, token := range w.gone {
		for _, s := range user.having(token) {
			if err := w.remove(ctx, s); err != nil {
				return err
			}
		}
	}
	if w.describes() {
		if err := w.tag(ctx); err != nil {
			return err
		}
	}
	for _, d := range w.devices {
		if err := w.put(ctx, d, user.having(d.Token)); err != nil {
			return err
		}
	}
	return nil
}

// canPut reports whether we know enough to create every device the user does not have yet.
func (w *writing) canPut(u *user) bool {
	return !slices.ContainsFunc(w.devices, func(d subscription) bool { return d.Type == "" && len(u.having(d.Token)) == 0 })
}

// create makes the user with everything at once. Where nothing but absence was asked for there is nothing to make.
func (w *writing) create(ctx context.Context) error {
	tags := maps.Clone(w.tags)
	maps.DeleteFunc(tags, func(_, value string) bool { return value == "" })
	about := properties[string, *string]{Tags: tags, Zone: w.zone}
	if w.zone != nil && *w.zone == "" {
		about.Zone = nil
	}
	if about.Zone == nil && len(tags)+len(w.devices) == 0 {
		return nil
	}
	if !w.canPut(&user{}) {
		return refused("unknown_device")
	}
	var made user
	err := w.call(ctx, ports.VendorCall{
		Name: "users.create", Method: http.MethodPost, Path: w.app + "/users", Out: &made,
		In: newUser{
			Identity: map[string]string{"external_id": string(w.customer)}, Properties: about, Subscriptions: w.devices,
		},
	})
	if err != nil {
		return err
	}
	for _, d := range w.devices { // a token that was somebody else's may have kept its state
		for _, s := range made.having(d.Token) {
			if err := w.correct(ctx, d, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writing) tag(ctx context.Context) error {
	return w.call(ctx, ports.VendorCall{
		Name: "users.update", Method: http.MethodPatch, Path: w.userPath(w.customer),
		In: map[string]any{"properties": w.properties()},
	})
}

// properties to update; null takes the zone away, where a tag goes by being empty.
func (w *writing) properties() map[string]any {
	out := map[string]any{}
	if len(w.tags) > 0 {
		out["tags"] = w.tags
	}
	switch {
	case w.zone == nil:
	case *w.zone == "":
		out["timezone_id"] = nil
	default:
		out["timezone_id"] = *w.zone
	}
	return out
}

// put switches the subscriptions the customer has with this token, or adds one, which takes it from whoever has it.
func (w *writing) put(ctx context.Context, d subscription, existing []subscription) error {
	for _, s := range existing {
		if err := w.update(ctx, d, s); err != nil {
			return err
		}
	}
	if len(existing) > 0 {
		return nil
	}
	var added struct {
		Subscription subscription `json:"subscription"`
	}
	err := w.call(ctx, ports.VendorCall{
		Name: "subscriptions.create", Method: http.MethodPost, Path: w.userPath(w.customer) + "/subscriptions", Out: &added,
		In: map[string]any{"subscription": d},
	})
	if err != nil {
		return err
	}
	return w.correct(ctx, d, added.Subscription)
}

// correct switches a subscription that came back from an add in another state than it was added with.
func (w *writing) correct(ctx context.Context, d, s subscription) error {
	if s.ID == "" || s.state() == d.state() {
		return nil
	}
	return w.update(ctx, d, s)
}

func (w *writing) update(ctx context.Context, d, s subscription) error {
	return w.call(ctx, ports.VendorCall{
		Name: "subscriptions.update", Method: http.MethodPatch, Path: w.subscriptionPath(s),
		In: map[string]any{"subscription": d.switches()},
	})
}

func (w *writing) remove(ctx context.Context, s subscription) error {
	err := w.call(ctx, ports.VendorCall{
		Name: "subscriptions.delete", Method: http.MethodDelete, Path: w.subscriptionPath(s),
	})
	if errors.Is(err, errMoved) {
		return nil // gone already, which is what we want
	}
	return err
}

func (w *writing) subscriptionPath(s subscription) string {
	return w.app + "/subscriptions/" + url.PathEscape(s.ID)
}

// call sends one write. A 404 for something just read is errMoved, the first time.
func (w *writing) call(ctx context.Context, c ports.VendorCall) error {
	c.Write = true
	if !w.strict || c.Method == http.MethodDelete {
		c.Expect = []int{http.StatusNotFound}
	}
	answer, err := w.api.Call(ctx, c)
	switch {
	case err != nil:
		return err
	case answer.Status == http.StatusNotFound:
		return errMoved
	}
	w.wrote = true
	return nil
}

func refused(code string) error {
	return &ports.TargetError{Target: preference.Push, Class: ports.Refused, Code: code}
}
