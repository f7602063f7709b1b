package inbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"accord/domain/fault"
	"accord/domain/preference"
)

// Audience says who gets a message.
type Audience string

const (
	Global   Audience = "global"   // everybody, anonymous callers too
	Personal Audience = "personal" // the customers that were named
)

// Bounds of a message. Texts count in characters, lists in entries.
const (
	maxTitle       = 200
	maxBody        = 4000
	maxActions     = 5
	maxActionTitle = 60
	maxVariants    = 50
	// MaxRecipients of one message.
	MaxRecipients = 1_000_000
	// DefaultLife of a message that names no expiry, and MaxLife of any, from publishing on.
	DefaultLife = 30 * 24 * time.Hour
	MaxLife     = 366 * 24 * time.Hour
	// MaxAhead is how far ahead publishing may be planned.
	MaxAhead = 366 * 24 * time.Hour
	// DefaultCategory of a message that names none.
	DefaultCategory = "general"
)

// Text is what a message says in one language.
type Text struct {
	Title    string
	Body     string
	ImageURL string            // https, empty for none
	Actions  map[string]string // titles of the buttons by id; those not named keep the default's
}

// Action is a button.
type Action struct {
	ID    string
	Title string
	Link  string
}

// Content is what a message shows and where it leads.
type Content struct {
	Text                     // Text.Actions is not used: Actions has the titles
	Locale   string          // of Text, BCP 47, empty when nobody said
	Variants map[string]Text // by locale
	Category string
	Link     string // deep link, empty for none
	Actions  []Action
	Pinned   bool
}

// Links lists every link of the content, each once.
func (c Content) Links() []string {
	var out []string
	if c.Link != "" {
		out = append(out, c.Link)
	}
	for _, a := range c.Actions {
		if !slices.Contains(out, a.Link) {
			out = append(out, a.Link)
		}
	}
	return out
}

// Draft is a message somebody asks to publish. Zero times take the defaults: publishing now, expiring after DefaultLife.
type Draft struct {
	Source     string // who publishes, with ExternalID the message's name over there
	ExternalID string
	Audience   Audience
	Recipients []preference.CustomerID // of a personal message, each once
	Campaign   string                  // what the measures count it under; empty takes the default
	Content    Content
	PublishAt  time.Time
	Expiry     time.Time
}

// Message is a message as it is kept.
type Message struct {
	ID          MessageID
	Source      string
	ExternalID  string
	Audience    Audience
	Recipients  int    // 0 for a global message
	Campaign    string // what the measures count it under, empty for none
	Content     Content
	Targets     []TargetKey // that its links lead to
	PublishedAt time.Time   // from when on it shows
	Expiry      time.Time   // until when, not included
	RetractedAt time.Time   // zero while it is not
	Fingerprint [32]byte    // of the draft it was made from
	Added       int64       // version of the globals with which a global message began to show; 0 before, and for others
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Position of the message in every feed.
func (m *Message) Position() Position {
	return Position{Pinned: m.Content.Pinned, Published: m.PublishedAt, ID: m.ID}
}

// VisibleAt reports whether it shows at that time.
func (m *Message) VisibleAt(now time.Time) bool {
	return m.RetractedAt.IsZero() && !now.Before(m.PublishedAt) && now.Before(m.Expiry)
}

// NextChange is when time alone makes it show or end, zero for never.
func (m *Message) NextChange(now time.Time) time.Time {
	switch {
	case !m.RetractedAt.IsZero() || !now.Before(m.Expiry):
		return time.Time{}
	case now.Before(m.PublishedAt):
		return m.PublishedAt
	}
	return m.Expiry
}

// Publish makes a message of the draft, without an id yet. Errors: fault.Invalid naming every field that breaks a rule; its
// code is "deeplink-inactive" when all is well but for links that lead to nothing that is active now.
func (d Draft) Publish(links *Links, now time.Time) (*Message, error) {
	now = now.Truncate(time.Microsecond)
	m := &Message{Source: d.Source, ExternalID: d.ExternalID, Audience: d.Audience, Recipients: len(d.Recipients), Content: d.Content,
		Campaign: d.campaign(), PublishedAt: latest(now, d.PublishAt.Truncate(time.Microsecond)), Expiry: d.Expiry.Truncate(time.Microsecond),
		Fingerprint: d.Fingerprint(), CreatedAt: now, UpdatedAt: now}
	m.Content.Category = cmp.Or(m.Content.Category, DefaultCategory)
	if d.Expiry.IsZero() {
		m.Expiry = m.PublishedAt.Add(DefaultLife)
	}
	r := rules{}
	d.checkName(&r)
	d.checkAudience(&r)
	m.Content.check(&r)
	r.must(d.PublishAt.Before(now.Add(MaxAhead)), "publish_at", "too_late", "must be within 366 days")
	m.checkLife(&r, now)
	if err := r.err(); err != nil {
		return nil, err
	}
	return m, m.resolve(links, now, nil)
}

// CheckName checks source and external id alone, for those who look a message up by them first.
func (d Draft) CheckName() error {
	r := rules{}
	d.checkName(&r)
	return r.err()
}

// campaign is the one that was named, or else the message itself; a message to one customer is no campaign.
func (d Draft) campaign() string {
	if d.Campaign != "" || len(d.Recipients) == 1 {
		return d.Campaign
	}
	return d.Source + "/" + d.ExternalID
}

func (m *Message) checkLife(r *rules, now time.Time) {
	r.must(m.Expiry.After(m.PublishedAt) && m.Expiry.After(now), "expiry", "in_the_past", "must be in the future and after publish_at")
	r.must(!m.Expiry.After(m.PublishedAt.Add(MaxLife)), "expiry", "too_late", "must be at most 366 days after publish_at")
}

// resolve finds the targets of all links. Those of an older content, which was published with them, need not be active
// any more: otherwise nothing about a message could be put right while one of its targets is switched off.
func (m *Message) resolve(links *Links, now time.Time, older *Message) error {
	var bad []fault.Field
	var published []string
	m.Targets = nil
	if older != nil {
		published = older.Content.Links()
	}
	for path, link := range m.Content.linksByPath() {
		t, ok := links.Resolve(link)
		if slices.Contains(published, link) && (!ok || !t.ActiveAt(now)) {
			m.keepTargets(older, links, link)
			continue
		}
		switch {
		case !ok:
			bad = append(bad, fault.Field{Path: path, Code: "unknown_target", Message: "leads to no target of the catalogue"})
		case !t.ActiveAt(now):
			bad = append(bad, fault.Field{Path: path, Code: "inactive_target", Message: "leads to the target " + string(t.Key) + ", which is not active"})
		case !slices.Contains(m.Targets, t.Key):
			m.Targets = append(m.Targets, t.Key)
		}
	}
	slices.Sort(m.Targets)
	if bad == nil {
		return nil
	}
	slices.SortFunc(bad, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return &fault.Error{Kind: fault.Invalid, Code: "deeplink-inactive", Message: "a link leads nowhere", Fields: bad}
}

// keepTargets goes on holding what the older message held about a link that leads nowhere now. The target that it led to is
// not known by itself, so those that no longer exist stay all.
func (m *Message) keepTargets(older *Message, links *Links, link string) {
	for _, key := range older.Targets {
		t, known := links.Target(key)
		if (!known || t.Pattern.Matches(link)) && !slices.Contains(m.Targets, key) {
			m.Targets = append(m.Targets, key)
		}
	}
}

func (c Content) linksByPath() map[string]string {
	out := map[string]string{}
	if c.Link != "" {
		out["deeplink"] = c.Link
	}
	for i, a := range c.Actions {
		out[fmt.Sprintf("actions.%d.deeplink", i)] = a.Link
	}
	return out
}

// Edit is a change to a message that is kept; nil leaves as it is.
type Edit struct {
	Content *Content
	Expiry  *time.Time
}

// Edited is the message after the edit. Errors as of Draft.Publish, and fault.Conflict "message-retracted".
func (m *Message) Edited(e Edit, links *Links, now time.Time) (*Message, error) {
	if !m.RetractedAt.IsZero() {
		return nil, fault.New(fault.Conflict, "message-retracted", "the message was retracted")
	}
	now = now.Truncate(time.Microsecond)
	out := *m
	out.UpdatedAt = now
	r := rules{}
	if e.Content != nil {
		out.Content = *e.Content
		out.Content.Category = cmp.Or(out.Content.Category, DefaultCategory)
		out.Content.check(&r)
	}
	if e.Expiry != nil {
		out.Expiry = e.Expiry.Truncate(time.Microsecond)
		out.checkLife(&r, now)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return &out, out.resolve(links, now, m)
}

// Fingerprint tells drafts with the same name but different content apart. Defaults do not enter it.
func (d Draft) Fingerprint() [32]byte {
	recipients := slices.Sorted(slices.Values(d.Recipients))
	doc, err := json.Marshal([]any{d.Audience, recipients, d.Campaign, d.Content, d.PublishAt.UTC(), d.Expiry.UTC()})
	if err != nil {
		panic(err) // cannot happen: nothing in it can fail to be encoded
	}
	return sha256.Sum256(doc)
}

// rules collects what is broken.
type rules struct{ broken []fault.Field }

func (r *rules) must(ok bool, path, code, message string) {
	if !ok {
		r.broken = append(r.broken, fault.Field{Path: path, Code: code, Message: message})
	}
}

func (r *rules) err() error {
	if len(r.broken) == 0 {
		return nil
	}
	return fault.OnFields(r.broken...)
}

var (
	sourcePattern   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	categoryPattern = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	actionIDPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	localePattern   = regexp.MustCompile(`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$`)
)

func (d Draft) checkName(r *rules) {
	r.must(sourcePattern.MatchString(d.Source), "source", "invalid_source", "must be 1 to 64 letters, digits or any of . _ : -")
	r.must(d.ExternalID != "" && len(d.ExternalID) <= 255 && plain(d.ExternalID), "external_id", "invalid_id", "must be 1 to 255 bytes without control characters")
	r.must(len(d.Campaign) <= 255 && plain(d.Campaign), "campaign", "invalid_id", "may have at most 255 bytes and no control characters")
}

func (d Draft) checkAudience(r *rules) {
	switch d.Audience {
	case Global:
		r.must(len(d.Recipients) == 0, "audience.ids", "not_allowed", "must not be given for a global message")
	case Personal:
		r.must(len(d.Recipients) > 0, "audience.ids", "required", "must name at least one customer")
		r.must(len(d.Recipients) <= MaxRecipients, "audience.ids", "too_many", "may name at most 1000000 customers")
	default:
		r.must(false, "audience.type", "unknown_audience", "must be global or customers")
	}
}

func (c Content) check(r *rules) {
	c.Text.check(r, "")
	r.must(c.Locale == "" || localePattern.MatchString(c.Locale), "locale", "invalid_locale", "must be a language tag such as de or pt-BR")
	r.must(categoryPattern.MatchString(c.Category), "category", "invalid_category", "must be 1 to 64 lower-case letters, digits, _ or -")
	r.must(len(c.Link) <= maxLink, "deeplink", "too_long", "may have at most 2048 bytes")
	r.must(len(c.Actions) <= maxActions, "actions", "too_many", "may have at most 5 entries")
	ids := map[string]bool{}
	for i, a := range c.Actions {
		at := fmt.Sprintf("actions.%d.", i)
		r.must(actionIDPattern.MatchString(a.ID), at+"id", "invalid_id", "must be 1 to 64 letters, digits, _ or -")
		r.must(!ids[a.ID], at+"id", "duplicate", "is there twice")
		r.must(shown(a.Title, 1, maxActionTitle), at+"title", "invalid_text", "must have 1 to 60 characters and no control characters")
		r.must(a.Link != "", at+"deeplink", "required", "must be given")
		r.must(len(a.Link) <= maxLink, at+"deeplink", "too_long", "may have at most 2048 bytes")
		ids[a.ID] = true
	}
	r.must(len(c.Variants) <= maxVariants, "variants", "too_many", "may have at most 50 entries")
	tags := map[string]bool{}
	for _, locale := range slices.Sorted(maps.Keys(c.Variants)) {
		t := c.Variants[locale]
		at, tag := "variants."+locale, strings.ToLower(locale)
		r.must(!tags[tag], at, "duplicate", "is the same language as another one: case makes no difference")
		tags[tag] = true
		r.must(localePattern.MatchString(locale), at, "invalid_locale", "must be named by a language tag such as de or pt-BR")
		t.check(r, at+".")
		for id, title := range t.Actions {
			r.must(ids[id], at+".actions."+id, "unknown_action", "is not the id of one of actions")
			r.must(shown(title, 1, maxActionTitle), at+".actions."+id, "invalid_text", "must have 1 to 60 characters and no control characters")
		}
	}
	slices.SortFunc(r.broken, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
}

func (t Text) check(r *rules, at string) {
	r.must(shown(t.Title, 1, maxTitle), at+"title", "invalid_text", "must have 1 to 200 characters and no control characters")
	r.must(utf8.RuneCountInString(t.Body) <= maxBody, at+"body", "too_long", "may have at most 4000 characters")
	r.must(!strings.ContainsFunc(t.Body, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' && c != '\r' }),
		at+"body", "invalid_text", "must have no control characters but line breaks and tabs")
	if t.ImageURL != "" {
		u, err := url.Parse(t.ImageURL)
		r.must(err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(t.ImageURL) <= maxLink && plain(t.ImageURL),
			at+"image_url", "invalid_url", "must be an https address of at most 2048 bytes")
	}
}

func shown(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && strings.TrimSpace(s) != "" && plain(s)
}

func plain(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }
