// Package braze keeps a customer's choices in Braze: the e-mail and push subscription of the profile, one subscription
// group per channel and per topic of e-mail, the custom attributes push_reachable and quiet_hours, and the time zone. The profile's external_id is the customer.
//
// Braze answers writes before it applies them, has no idempotency key (setting an attribute again is harmless) and knows
// "subscribed" as a third, neutral state of e-mail and push, which it gives every new profile unasked.
package braze

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"accord/domain/preference"
	"accord/ports"
)

// QuietHoursAttribute is the custom attribute that holds the customer's quiet hours, as in "22:00-07:00 Europe/Zurich". Their
// zone is the profile's own time_zone too, which is what Braze's deliveries by local time go by.
const QuietHoursAttribute = "quiet_hours"

// ReachableAttribute is the custom attribute that says whether a push could reach any device, for segments.
const ReachableAttribute = "push_reachable"

// Config maps our words to Braze's.
type Config struct {
	// Groups holds the id of the subscription group of each channel. Both must be unique and not empty.
	Groups map[preference.ChannelKey]string
	// Topics is the same for topics of marketing e-mail. No group may stand for two things.
	Topics map[preference.TopicKey]string
}

// Braze implements ports.TargetSystem. It is safe for concurrent use.
type Braze struct {
	api    ports.VendorAPI
	groups map[preference.Item]string // of channels and topics
	items  map[string]preference.Item // by group id
}

var _ ports.TargetSystem = (*Braze)(nil)

// New speaks through api, which adds "Authorization: Bearer <REST API key>" to each call. The key needs the permissions
// users.track, users.export.ids, subscription.groups.get and users.delete.
func New(api ports.VendorAPI, cfg Config) (*Braze, error) {
	b := &Braze{api: api, groups: map[preference.Item]string{}, items: map[string]preference.Item{}}
	for channel, group := range cfg.Groups {
		b.groups[preference.Item{Kind: preference.ChannelItem, Key: string(channel)}] = group
	}
	for topic, group := range cfg.Topics {
		b.groups[preference.Item{Kind: preference.EmailTopicItem, Key: string(topic)}] = group
	}
	var problems []error
	for item, group := range b.groups {
		if item.Key == "" || group == "" {
			problems = append(problems, fmt.Errorf("%s %q needs a key and a subscription group", item.Kind, item.Key))
		}
		if other, twice := b.items[group]; twice {
			problems = append(problems, fmt.Errorf("%s and %s have the same subscription group", item.Label(), other.Label()))
		}
		b.items[group] = item
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("braze: %w", errors.Join(problems...))
	}
	return b, nil
}

// Name is preference.CRM.
func (*Braze) Name() preference.Target { return preference.CRM }

// Read answers what the profile says. Its two calls run at the same time, so they may show two moments of a write that
// is being applied; the caller reads until it sees what it waits for anyway.
func (b *Braze) Read(ctx context.Context, customer preference.CustomerID) (preference.Holding, error) {
	var profile, groups preference.Holding
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { profile, err = b.readProfile(ctx, customer); return err })
	g.Go(func() (err error) { groups, err = b.readGroups(ctx, customer); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for item, state := range groups {
		profile[item] = state
	}
	return profile, nil
}

func (b *Braze) readProfile(ctx context.Context, customer preference.CustomerID) (preference.Holding, error) {
	var answer exportAnswer
	_, err := b.api.Call(ctx, ports.VendorCall{
		Name: "users.export.ids", Method: http.MethodPost, Path: "/users/export/ids", Out: &answer,
		In: exportRequest{
			ExternalIDs: []string{string(customer)},
			Fields:      []string{"external_id", "email_subscribe", "push_subscribe", "time_zone", "custom_attributes"},
		},
	})
	if err != nil {
		return nil, err
	}
	held := preference.Holding{}
	for _, user := range answer.Users {
		if user.ExternalID != string(customer) {
			continue
		}
		put(held, preference.Item{Kind: preference.EmailItem}, subscriptionStates[user.EmailSubscribe])
		put(held, preference.Item{Kind: preference.PushItem}, subscriptionStates[user.PushSubscribe])
		if reachable, is := user.Custom[ReachableAttribute].(bool); is {
			put(held, preference.Item{Kind: preference.ReachableItem}, onOff(reachable))
		}
		hours, _ := user.Custom[QuietHoursAttribute].(string)
		for kind, words := range map[preference.ItemKind]string{preference.QuietItem: hours, preference.ZoneItem: user.TimeZone} {
			if state, says := preference.InWords(words); says {
				held[preference.Item{Kind: kind}] = state
			}
		}
	}
	return held, nil
}

// readGroups asks for all groups of the person at once; only those with a history are answered.
func (b *Braze) readGroups(ctx context.Context, customer preference.CustomerID) (preference.Holding, error) {
	var answer groupsAnswer
	_, err := b.api.Call(ctx, ports.VendorCall{
		Name: "subscription.user.status", Method: http.MethodGet, Path: "/subscription/user/status", Out: &answer,
		Query: map[string][]string{"external_id": {string(customer)}, "limit": {"100"}},
	})
	if err != nil {
		return nil, err
	}
	held := preference.Holding{}
	for id, status := range answer.of(customer) {
		if item, ours := b.items[id]; ours {
			put(held, item, groupState(status))
		}
	}
	return held, nil
}

// put leaves out what has no state in our words.
func put(h preference.Holding, item preference.Item, state preference.State) {
	if state != "" {
		h[item] = state
	}
}

// Write sets everything in one call with one attributes object. A profile that this creates therefore never shows
// Braze's own default for anything in w.Set, not even for a moment. What Braze has no word for becomes the word that
// sends less: Unknown e-mail, push, topics and channels, and Neutral topics and channels, are written as unsubscribed; an Unknown
// reachable attribute, quiet hours or time zone is removed.
func (b *Braze) Write(ctx context.Context, w ports.TargetWrite) error {
	if len(w.Set) == 0 {
		return nil
	}
	attributes, err := b.attributes(w)
	if err != nil {
		return err
	}
	var answer trackAnswer
	got, err := b.api.Call(ctx, ports.VendorCall{
		Name: "users.track", Method: http.MethodPost, Path: "/users/track", Write: true, Out: &answer,
		In: trackRequest{Attributes: []map[string]any{attributes}},
	})
	if err != nil {
		return err
	}
	switch {
	case len(answer.Errors) > 0: // the call is accepted, its only object is not
		return b.failed(ports.Refused, "item_refused", got.Status)
	case answer.Message != "success" && answer.Message != "queued":
		failure := b.failed(ports.Transient, "malformed", got.Status)
		failure.MaybeDone = true
		return failure
	}
	return nil
}

// Forget deletes the profile. The key needs the permission users.delete for it.
func (b *Braze) Forget(ctx context.Context, customer preference.CustomerID) error {
	var answer struct {
		Message string `json:"message"`
	}
	got, err := b.api.Call(ctx, ports.VendorCall{
		Name: "users.delete", Method: http.MethodPost, Path: "/users/delete", Write: true, Out: &answer,
		In: map[string][]string{"external_ids": {string(customer)}},
	})
	if err != nil {
		return err
	}
	if answer.Message != "success" && answer.Message != "queued" {
		failure := b.failed(ports.Transient, "malformed", got.Status)
		failure.MaybeDone = true
		return failure
	}
	return nil
}

func (b *Braze) attributes(w ports.TargetWrite) (map[string]any, error) {
	out := map[string]any{"external_id": string(w.Customer)}
	groups := []groupWrite{}
	for item, state := range w.Set {
		switch item.Kind {
		case preference.EmailItem:
			out["email_subscribe"] = subscription(state)
		case preference.PushItem:
			out["push_subscribe"] = subscription(state)
		case preference.ReachableItem:
			out[ReachableAttribute] = reachable(state)
		case preference.QuietItem:
			out[QuietHoursAttribute] = words(state)
		case preference.ZoneItem:
			out["time_zone"] = words(state)
		case preference.ChannelItem, preference.EmailTopicItem:
			group, mapped := b.groups[item]
			if !mapped {
				return nil, b.failed(ports.Refused, "unmapped_item", 0)
			}
			groups = append(groups, groupWrite{group, subscribed(state)})
		default:
			return nil, b.failed(ports.Refused, "unmapped_item", 0)
		}
	}
	if len(groups) > 0 {
		out["subscription_groups"] = groups
	}
	return out, nil
}

func (*Braze) failed(class ports.TargetErrorClass, code string, status int) *ports.TargetError {
	return &ports.TargetError{Target: preference.CRM, Class: class, Code: code, Status: status}
}
