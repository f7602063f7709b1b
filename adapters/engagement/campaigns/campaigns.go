// Package campaigns reads an engagement platform's messages that are not one customer's own, through a neutral paginated
// JSON feed that any platform can serve. docs/campaign-feed.md is its contract.
//
// It is strict about what it reads: a member of the wrong type makes a message broken instead of half right. Members it
// does not know are ignored, and no message ever spoils the others on its page.
package campaigns

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"accord/domain/inbox"
	"accord/ports"
)

// CredentialStatuses are the answers to a key that is wrong or may not read the feed. For the outbound policy of the API
// given to New.
var CredentialStatuses = []int{http.StatusUnauthorized, http.StatusForbidden}

const (
	pageSize = 100
	// maxCursor bounds a cursor, in bytes: it is kept in the database.
	maxCursor = 1024
	// history is how far back the first read goes. What has not changed for longer shows nothing any more: publishing can
	// be planned so far ahead, and a message lives so long.
	history = inbox.MaxAhead + inbox.MaxLife
)

// Config says what goes where. The zero value will do.
type Config struct {
	// ReservedSources are not taken from a message: they belong to feeds that end what they do not list any more.
	ReservedSources []string
	// Skipped is told of each message that has no name and so is left out. It is called concurrently.
	Skipped func()
	Clock   func() time.Time // default time.Now
	Logger  *slog.Logger     // default: none
}

// Feed implements ports.CampaignFeed. It is safe for concurrent use.
type Feed struct {
	api ports.VendorAPI
	cfg Config
}

var _ ports.CampaignFeed = (*Feed)(nil)

// New speaks through api, which adds "Authorization: Bearer <key>" to each call where the platform wants one, and reads
// answers of up to 16 MiB.
func New(api ports.VendorAPI, cfg Config) *Feed {
	if cfg.Skipped == nil {
		cfg.Skipped = func() {}
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Feed{api: api, cfg: cfg}
}

// page is one answer. A pointer tells what is missing from what is empty.
type page struct {
	Messages []json.RawMessage `json:"messages"`
	Next     *string           `json:"next_cursor"`
	Latest   *string           `json:"latest_cursor"`
}

// Campaigns reads the page after the cursor. A platform that does not know the cursor any more (410) is read from the
// beginning, which is harmless: a message is known by its name. An answer that would not move on is malformed.
func (f *Feed) Campaigns(ctx context.Context, cursor string) (ports.CampaignPage, error) {
	p, known, err := f.read(ctx, cursor)
	if err == nil && !known {
		f.cfg.Logger.WarnContext(ctx, "the campaign feed does not know our cursor any more, reading it from the beginning")
		cursor = ""
		p, known, err = f.read(ctx, cursor)
	}
	if err != nil {
		return ports.CampaignPage{}, err
	}
	out := ports.CampaignPage{Next: cursor}
	switch {
	case !known, p.Messages == nil:
		return ports.CampaignPage{}, malformed()
	case p.Next != nil:
		out.Next, out.More = *p.Next, true
	case p.Latest != nil:
		out.Next = *p.Latest
	case len(p.Messages) > 0:
		return ports.CampaignPage{}, malformed() // we would read these messages for ever
	}
	if out.More && (out.Next == "" || out.Next == cursor) || len(out.Next) > maxCursor || !storable(out.Next) {
		return ports.CampaignPage{}, malformed()
	}
	out.Campaigns = f.campaigns(ctx, p.Messages)
	return out, nil
}

// read answers known = false when the platform has forgotten the cursor.
func (f *Feed) read(ctx context.Context, cursor string) (p page, known bool, err error) {
	query := map[string][]string{"limit": {strconv.Itoa(pageSize)}}
	if cursor == "" {
		query["updated_since"] = []string{f.cfg.Clock().Add(-history).UTC().Format(time.RFC3339)}
	} else {
		query["cursor"] = []string{cursor}
	}
	answer, err := f.api.Call(ctx, ports.VendorCall{
		Name: "campaigns.list", Method: http.MethodGet, Path: "/messages", Query: query, Out: &p, Expect: []int{http.StatusGone},
	})
	return p, answer.Status != http.StatusGone, err
}

func (f *Feed) campaigns(ctx context.Context, messages []json.RawMessage) []ports.Campaign {
	out := make([]ports.Campaign, 0, len(messages))
	nameless := 0
	for _, raw := range messages {
		c, named := f.campaign(raw)
		if !named {
			nameless++
			f.cfg.Skipped()
			continue
		}
		out = append(out, c)
	}
	if nameless > 0 {
		f.cfg.Logger.WarnContext(ctx, "the campaign feed has messages without source or external_id, which are left out", "count", nameless)
	}
	return out
}

func malformed() error {
	return &ports.TargetError{Target: ports.Engagement, Class: ports.Transient, Code: "malformed", Status: http.StatusOK}
}
