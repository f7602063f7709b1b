package sandbox

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// engagementState holds the campaign messages in the order of their last change.
type engagementState struct {
	Sequence uint64               `json:"sequence"`
	Messages []*engagementMessage `json:"messages"`
}

// engagementMessage is a campaign message as control call and feed show it.
type engagementMessage struct {
	ID          string             `json:"id"`
	Source      string             `json:"source"`
	ExternalID  string             `json:"external_id"`
	Audience    engagementAudience `json:"audience"`
	Campaign    *string            `json:"campaign"`
	Title       string             `json:"title"`
	Body        string             `json:"body"`
	Locale      *string            `json:"locale"`
	Variants    json.RawMessage    `json:"variants"`
	Deeplink    *string            `json:"deeplink"`
	Expiry      *time.Time         `json:"expiry"`
	Category    string             `json:"category"`
	ImageURL    *string            `json:"image_url"`
	Pinned      bool               `json:"pinned"`
	Actions     []json.RawMessage  `json:"actions"`
	PublishAt   *time.Time         `json:"publish_at"`
	CreatedAt   time.Time          `json:"created_at"`
	UpdatedAt   time.Time          `json:"updated_at"`
	RetractedAt *time.Time         `json:"retracted_at"`
	Sequence    uint64             `json:"sequence"` // number of the last change
}

const (
	audienceGlobal    = "global"
	audienceCustomers = "customers"
)

type engagementAudience struct {
	Type string   `json:"type"`
	IDs  []string `json:"ids,omitempty"`
}

func (g *engagementState) index() {}

func (g *engagementState) find(match func(*engagementMessage) bool) *engagementMessage {
	if i := slices.IndexFunc(g.Messages, match); i >= 0 {
		return g.Messages[i]
	}
	return nil
}

// engagementPut makes a message or replaces the one with its id; either way it is the newest change.
type engagementPut struct {
	Message engagementMessage `json:"message"`
}

func (*engagementPut) kind() string { return "engagement.put" }

func (c *engagementPut) apply(st *state, _ *effect) {
	g := &st.Engagement
	g.Sequence++
	m := c.Message
	m.Sequence = g.Sequence
	g.Messages = slices.DeleteFunc(g.Messages, func(old *engagementMessage) bool { return old.ID == m.ID })
	g.Messages = append(g.Messages, &m)
}

var _ = registerChange(func() change { return &engagementPut{} })

func engagement() *vendor {
	return &vendor{
		target: targetEngagement, prefix: "/engagement", fail: engagementFail,
		endpoints: []endpoint{{
			pattern: "GET /messages", class: callRead, handle: engagementFeed,
			guards: []func(*Sandbox, *call) *reply{engagementAuth},
		}},
	}
}

func engagementFail(status int, message string) reply {
	return reply{status: status, body: object{"error": message}}
}

func engagementAuth(s *Sandbox, c *call) *reply {
	key := s.cfg.EngagementAPIKey
	if key == "" || subtle.ConstantTimeCompare([]byte(c.bearer("Bearer")), []byte(key)) == 1 {
		return nil
	}
	out := engagementFail(http.StatusUnauthorized, "unauthorized")
	return &out
}

// engagementFeed pages through the changes of global messages, oldest first; those to customers come through Iterable, so
// that nothing comes twice. A message that changes moves to the end, so a page never misses one. next_cursor is null on the last page; latest_cursor is where to go on when there is more later.
func engagementFeed(s *Sandbox, c *call) reply {
	limit, okLimit := intQuery(c, "limit", 50)
	since, okSince := timeQuery(c, "updated_since")
	after, err := strconv.ParseUint(cmp.Or(c.URL.Query().Get("cursor"), "0"), 10, 64)
	if !okLimit || !okSince || err != nil || limit < 1 || limit > 200 {
		return engagementFail(http.StatusBadRequest, "cursor, updated_since or limit (1 to 200) is not valid")
	}
	messages, more := []engagementMessage{}, false
	s.view(func(st *state) {
		for _, m := range st.Engagement.Messages {
			if m.Audience.Type != audienceGlobal || m.Sequence <= after || m.UpdatedAt.Before(since) {
				continue
			}
			if more = len(messages) == limit; more {
				return
			}
			messages = append(messages, *m)
		}
	})
	latest := after
	if len(messages) > 0 {
		latest = messages[len(messages)-1].Sequence
	}
	cursor := strconv.FormatUint(latest, 10)
	body := object{"messages": messages, "next_cursor": nil, "latest_cursor": cursor}
	if more {
		body["next_cursor"] = cursor
	}
	return ok(body)
}

// messageRequest is the body of POST /_sandbox/messages: as POST /v1/messages, source and external_id optional.
type messageRequest struct {
	Source     string              `json:"source"`
	ExternalID string              `json:"external_id"`
	Audience   *engagementAudience `json:"audience"`
	Campaign   *string             `json:"campaign"`
	Title      string              `json:"title"`
	Body       string              `json:"body"`
	Locale     *string             `json:"locale"`
	Variants   json.RawMessage     `json:"variants"`
	Deeplink   *string             `json:"deeplink"`
	Expiry     *time.Time          `json:"expiry"`
	Category   string              `json:"category"`
	ImageURL   *string             `json:"image_url"`
	Pinned     bool                `json:"pinned"`
	Actions    []json.RawMessage   `json:"actions"`
	PublishAt  *time.Time          `json:"publish_at"`
}

func (r messageRequest) problems() []fieldError {
	var bad []fieldError
	if r.Title == "" {
		bad = append(bad, fieldError{"title", "required", "must not be empty"})
	}
	switch {
	case r.Audience == nil:
		bad = append(bad, fieldError{"audience", "required", "must be given"})
	case r.Audience.Type == audienceCustomers && len(distinct(r.Audience.IDs)) == 0:
		bad = append(bad, fieldError{"audience.ids", "required", "must name customers"})
	case r.Audience.Type == audienceGlobal && len(r.Audience.IDs) > 0:
		bad = append(bad, fieldError{"audience.ids", "invalid", "must not be given for a global message"})
	case r.Audience.Type != audienceCustomers && r.Audience.Type != audienceGlobal:
		bad = append(bad, fieldError{"audience.type", "invalid", "must be one of global, customers"})
	}
	if present(r.Variants) && objectOf(r.Variants) == nil {
		bad = append(bad, fieldError{"variants", "invalid", "must be an object"})
	}
	return bad
}

// postMessage makes a campaign message. The same source and external_id again replaces it, as an edited campaign does, and
// brings a retracted one back. It is passed on as it came: a platform does not know our rules.
func (s *Sandbox) postMessage(r *http.Request) reply {
	var in messageRequest
	if bad := decodeStrict(r, &in); bad != nil {
		return badRequest(bad)
	}
	if bad := in.problems(); bad != nil {
		return badRequest(bad)
	}
	in.Source, in.ExternalID = cmp.Or(in.Source, "sandbox"), cmp.Or(in.ExternalID, newID())
	if in.Actions == nil {
		in.Actions = []json.RawMessage{}
	}
	return s.update(func(tx *writer) reply {
		m := engagementMessage{
			ID: newID(), Source: in.Source, ExternalID: in.ExternalID, Audience: *in.Audience, Campaign: in.Campaign,
			Title: in.Title, Body: in.Body, Locale: in.Locale, Variants: in.Variants,
			Deeplink: in.Deeplink, Expiry: in.Expiry, Category: in.Category, ImageURL: in.ImageURL, Pinned: in.Pinned,
			Actions: in.Actions, PublishAt: in.PublishAt, CreatedAt: tx.now, UpdatedAt: tx.now,
		}
		old := tx.st.Engagement.find(func(o *engagementMessage) bool { return o.Source == m.Source && o.ExternalID == m.ExternalID })
		if old != nil && old.Audience.Type != m.Audience.Type { // the feed it was in could not say that it is gone
			return problem(http.StatusConflict, "audience-changed", "a message stays global, or to customers")
		}
		if old != nil {
			m.ID, m.CreatedAt = old.ID, old.CreatedAt
		}
		return tx.putMessage(m, http.StatusCreated)
	})
}

// retractMessage takes a campaign back: the neutral feed goes on showing it, with retracted_at, and Iterable does not show
// it any more.
func (s *Sandbox) retractMessage(r *http.Request) reply {
	return s.update(func(tx *writer) reply {
		old := tx.st.Engagement.find(func(o *engagementMessage) bool { return o.ID == r.PathValue("id") })
		if old == nil {
			return problem(http.StatusNotFound, "not-found", "there is no such message")
		}
		m := *old
		if m.RetractedAt == nil {
			m.RetractedAt, m.UpdatedAt = &tx.now, tx.now
		}
		return tx.putMessage(m, http.StatusOK)
	})
}

func (tx *writer) putMessage(m engagementMessage, status int) reply {
	if err := tx.write(tx.sync(targetEngagement, nil, &engagementPut{m})); err != nil {
		return unwritable()
	}
	return reply{status: status, body: tx.st.Engagement.find(func(o *engagementMessage) bool { return o.ID == m.ID })}
}
