// Package iterable reads one customer's messages in Iterable: the in-app messages that are saved to the inbox, and the
// embedded messages the customer is eligible for. The Iterable userId is the customer.
//
// Iterable keeps no read state for a server: its consume and track calls are for apps. What a customer did with a message
// is known here alone, and Iterable's own read flag is not looked at.
package iterable

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Source is the source of every draft.
const Source = "iterable"

// CredentialStatuses are the answers to a key that is wrong or lacks a permission. For the outbound policy of the API
// given to New.
var CredentialStatuses = []int{http.StatusUnauthorized, http.StatusForbidden}

// Bounds of one reading. Iterable pages neither list: in-app messages come up to the count that is asked for, so a list of
// exactly that length may lack some, and what is missing from a list counts as ended.
const (
	usualCount = 250
	mostCount  = 2000
)

// Platforms whose app-specific messages Iterable can add.
var platforms = []string{"iOS", "Android", "Web", "OTT"}

// Config says which messages are asked for. The zero value asks for what is meant for every app.
type Config struct {
	// Platform and PackageName, given together, add the messages that are meant for this one app.
	Platform    string
	PackageName string
	// NoEmbedded leaves the embedded messages out, for a project without that product.
	NoEmbedded bool
	// Skipped is told of each message that cannot be one in an inbox, by reason. It is called concurrently.
	Skipped func(reason string)
	Logger  *slog.Logger // default: none
}

// Iterable implements ports.CustomerFeed. It is safe for concurrent use.
type Iterable struct {
	api ports.VendorAPI
	cfg Config
}

var _ ports.CustomerFeed = (*Iterable)(nil)

// New speaks through api, which adds "Api-Key: <server-side key>" to each call and reads answers of up to 16 MiB: in-app
// messages carry their HTML.
func New(api ports.VendorAPI, cfg Config) (*Iterable, error) {
	if (cfg.Platform == "") != (cfg.PackageName == "") {
		return nil, errors.New("iterable: Platform and PackageName go together")
	}
	if cfg.Platform != "" && !slices.Contains(platforms, cfg.Platform) {
		return nil, errors.New("iterable: Platform must be iOS, Android, Web or OTT")
	}
	if cfg.Skipped == nil {
		cfg.Skipped = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Iterable{api: api, cfg: cfg}, nil
}

// Source is the constant.
func (*Iterable) Source() string { return Source }

// CustomerMessages asks for both lists at the same time; one that fails fails the whole, because half a list would end the
// other half. A user Iterable does not know, or was told to forget, has no messages. The drafts are in the order in which
// they were made, those of unknown age first, so that publishing them one after the other gives the newest the newest
// place.
func (it *Iterable) CustomerMessages(ctx context.Context, customer preference.CustomerID) ([]inbox.Draft, error) {
	var inApp, embedded []inbox.Draft
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { inApp, err = it.inApp(gctx, customer); return err })
	if !it.cfg.NoEmbedded {
		g.Go(func() (err error) { embedded, err = it.embedded(gctx, customer); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return append(embedded, inApp...), nil
}

func (it *Iterable) inApp(ctx context.Context, customer preference.CustomerID) ([]inbox.Draft, error) {
	for _, count := range []int{usualCount, mostCount} {
		var answer struct {
			Messages []json.RawMessage `json:"inAppMessages"`
		}
		query := it.query(customer)
		query["count"] = []string{strconv.Itoa(count)}
		known, err := it.get(ctx, "inApp.getMessages", "/api/inApp/getMessages", query, &answer)
		switch {
		case err != nil || !known:
			return nil, err
		case answer.Messages == nil:
			return nil, failed(ports.Transient, "malformed", http.StatusOK)
		case len(answer.Messages) < count:
			return it.drafts(ctx, customer, answer.Messages, readInApp), nil
		}
	}
	return nil, failed(ports.Refused, "too_many", http.StatusOK)
}

// embedded does not name the messages we have (currentMessageIds): those come back without their content then, and nobody
// would notice that it has changed.
func (it *Iterable) embedded(ctx context.Context, customer preference.CustomerID) ([]inbox.Draft, error) {
	var answer struct {
		Placements []json.RawMessage `json:"placements"`
	}
	known, err := it.get(ctx, "embedded.messages", "/api/embedded-messaging/messages", it.query(customer), &answer)
	if err != nil || !known {
		return nil, err
	}
	if answer.Placements == nil {
		return nil, failed(ports.Transient, "malformed", http.StatusOK)
	}
	var messages []json.RawMessage
	for _, raw := range answer.Placements {
		var placement struct {
			Messages []json.RawMessage `json:"embeddedMessages"`
		}
		if json.Unmarshal(raw, &placement) != nil {
			return nil, failed(ports.Transient, "malformed", http.StatusOK) // who knows what is in there
		}
		messages = append(messages, placement.Messages...)
	}
	return it.drafts(ctx, customer, messages, readEmbedded), nil
}

func (it *Iterable) query(customer preference.CustomerID) map[string][]string {
	query := map[string][]string{"userId": {string(customer)}}
	if it.cfg.Platform != "" {
		query["platform"], query["packageName"] = []string{it.cfg.Platform}, []string{it.cfg.PackageName}
	}
	return query
}

// get answers known = false for a user who is none.
func (it *Iterable) get(ctx context.Context, name, path string, query map[string][]string, out any) (known bool, err error) {
	var declined struct {
		Code string `json:"code"`
	}
	answer, err := it.api.Call(ctx, ports.VendorCall{
		Name: name, Method: http.MethodGet, Path: path, Query: query, Out: out, Declined: &declined,
		Expect: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict},
	})
	switch {
	case err != nil:
		return false, err
	case answer.Status/100 == 2:
		return true, nil
	case declined.Code == "UnknownUserIdError", declined.Code == "ForgottenUserError":
		return false, nil
	}
	return false, failed(ports.Refused, "refused", answer.Status)
}

// drafts reads the messages one by one: none spoils the others. Two with one name are one, the first.
func (it *Iterable) drafts(ctx context.Context, customer preference.CustomerID, messages []json.RawMessage, read func(json.RawMessage) (message, string)) []inbox.Draft {
	found := make([]message, 0, len(messages))
	skipped := map[string]int{}
	names := map[string]bool{}
	for _, raw := range messages {
		m, reason := read(raw)
		if reason == "" && names[m.id] {
			reason = "duplicate"
		}
		if reason != "" {
			skipped[reason]++
			it.cfg.Skipped(reason)
			continue
		}
		names[m.id] = true
		found = append(found, m)
	}
	for reason, n := range skipped {
		it.cfg.Logger.DebugContext(ctx, "messages that are not for the inbox", "source", Source, "reason", reason, "count", n)
	}
	slices.SortStableFunc(found, message.compare)
	out := make([]inbox.Draft, 0, len(found))
	for _, m := range found {
		out = append(out, m.draft(customer))
	}
	return out
}

func failed(class ports.TargetErrorClass, code string, status int) error {
	return &ports.TargetError{Target: ports.Engagement, Class: class, Code: code, Status: status}
}
