package postgres

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"accord/domain/inbox"
	"accord/ports"
)

// contentDoc is the content of a message as it is stored. Category and Pinned have columns of their own.
type contentDoc struct {
	textDoc
	Locale   string             `json:"locale,omitempty"`
	Link     string             `json:"link,omitempty"`
	Buttons  []buttonDoc        `json:"buttons,omitempty"`
	Variants map[string]textDoc `json:"variants,omitempty"`
}

type textDoc struct {
	Title    string            `json:"title"`
	Body     string            `json:"body,omitempty"`
	ImageURL string            `json:"image_url,omitempty"`
	Titles   map[string]string `json:"titles,omitempty"` // of buttons
}

type buttonDoc struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Link  string `json:"link"`
}

func textToDoc(t inbox.Text) textDoc {
	return textDoc{Title: t.Title, Body: t.Body, ImageURL: t.ImageURL, Titles: t.Actions}
}

func (d textDoc) text() inbox.Text {
	return inbox.Text{Title: d.Title, Body: d.Body, ImageURL: d.ImageURL, Actions: d.Titles}
}

func encodeContent(c inbox.Content) ([]byte, error) {
	d := contentDoc{textDoc: textToDoc(c.Text), Locale: c.Locale, Link: c.Link}
	for _, a := range c.Actions {
		d.Buttons = append(d.Buttons, buttonDoc(a))
	}
	if len(c.Variants) > 0 {
		d.Variants = make(map[string]textDoc, len(c.Variants))
		for locale, t := range c.Variants {
			d.Variants[locale] = textToDoc(t)
		}
	}
	return json.Marshal(d)
}

func decodeContent(b []byte) (inbox.Content, error) {
	var d contentDoc
	if err := json.Unmarshal(b, &d); err != nil {
		return inbox.Content{}, fmt.Errorf("decode a stored message: %w", err)
	}
	c := inbox.Content{Text: d.text(), Locale: d.Locale, Link: d.Link}
	for _, a := range d.Buttons {
		c.Actions = append(c.Actions, inbox.Action(a))
	}
	if len(d.Variants) > 0 {
		c.Variants = make(map[string]inbox.Text, len(d.Variants))
		for locale, t := range d.Variants {
			c.Variants[locale] = t.text()
		}
	}
	return c, nil
}

// messageColumns are what a messageRow scans, of a table called m.
const messageColumns = `m.id, m.source, m.external_id, m.audience, m.recipients, m.campaign, m.content, m.category, m.pinned, m.targets,
	m.published_at, m.expires_at, m.retracted_at, m.fingerprint, m.added, m.created_at, m.updated_at, m.many, m.undelivered`

type messageRow struct {
	m                               inbox.Message
	content, fingerprint            []byte
	targets                         []string
	retracted                       pgtype.Timestamptz
	published, expiry, made, change time.Time
	many                            bool
	undelivered                     int
}

func (r *messageRow) dest() []any {
	return []any{&r.m.ID, &r.m.Source, &r.m.ExternalID, &r.m.Audience, &r.m.Recipients, &r.m.Campaign, &r.content, &r.m.Content.Category,
		&r.m.Content.Pinned, &r.targets, &r.published, &r.expiry, &r.retracted, &r.fingerprint, &r.m.Added, &r.made, &r.change, &r.many, &r.undelivered}
}

// message is what was scanned. It owns all that it holds.
func (r *messageRow) message() (*inbox.Message, error) {
	m := r.m
	content, err := decodeContent(r.content)
	if err != nil {
		return nil, err
	}
	content.Category, content.Pinned = m.Content.Category, m.Content.Pinned
	m.Content = content
	for _, key := range r.targets {
		m.Targets = append(m.Targets, inbox.TargetKey(key))
	}
	m.PublishedAt, m.Expiry, m.CreatedAt, m.UpdatedAt = r.published.UTC(), r.expiry.UTC(), r.made.UTC(), r.change.UTC()
	if r.retracted.Valid {
		m.RetractedAt = r.retracted.Time.UTC()
	}
	if len(r.fingerprint) != len(m.Fingerprint) {
		return nil, fmt.Errorf("the stored message %d has a fingerprint of %d bytes", m.ID, len(r.fingerprint))
	}
	copy(m.Fingerprint[:], r.fingerprint)
	return &m, nil
}

func (r *messageRow) stored() (ports.StoredMessage, error) {
	m, err := r.message()
	if err != nil {
		return ports.StoredMessage{}, err
	}
	return ports.StoredMessage{Message: *m, Undelivered: r.undelivered}, nil
}

// scanMessages reads rows of messageColumns.
func scanMessages(rows pgx.Rows, each func(*inbox.Message)) error {
	defer rows.Close()
	for rows.Next() {
		var row messageRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		m, err := row.message()
		if err != nil {
			return err
		}
		each(m)
	}
	return rows.Err()
}

// asKept gives the times the form in which they will be read again.
func asKept(m *inbox.Message) {
	for _, t := range []*time.Time{&m.PublishedAt, &m.Expiry, &m.CreatedAt, &m.UpdatedAt} {
		*t = t.UTC().Truncate(time.Microsecond)
	}
}

// card is the message as it is stored for those who read it: the usual one, with every link active.
func (db *DB) card(m *inbox.Message) (card string, format int) {
	if db.cards == nil {
		return "", 0
	}
	return string(db.cards.Card(m, nil, nil)), db.cards.Format()
}

func keysOf(targets []inbox.TargetKey) []string {
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = string(t)
	}
	return out
}

// timeOrNull keeps a zero time out of a column.
func timeOrNull(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()}
}

// nextOf is what a time that never comes is as next_change.
func nextOf(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: t, Valid: true}
}
