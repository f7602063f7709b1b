package inbox_test

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

func errNotFound() error { return fault.New(fault.NotFound, "not-found", "there is no such thing") }

func (w *world) stored(m *kept) ports.StoredMessage {
	return ports.StoredMessage{Message: m.Message, Undelivered: len(m.waiting)}
}

func (w *world) named(source, externalID string) *kept {
	for _, m := range w.messages {
		if m.Source == source && m.ExternalID == externalID {
			return m
		}
	}
	return nil
}

func (w *world) PublishMessage(_ context.Context, source, externalID string, recipients []preference.CustomerID, inline int,
	build func(*inbox.Links, time.Time) (*inbox.Message, error)) (out ports.StoredMessage, created bool, err error) {
	return out, created, w.in("PublishMessage", func() error {
		if m := w.named(source, externalID); m != nil {
			out = w.stored(m)
			return nil
		}
		m, err := build(w.links(), w.now())
		if err != nil {
			return err
		}
		m.ID = inbox.MessageID(len(w.messages) + 1)
		k := &kept{Message: *m, recipients: recipients}
		w.messages[m.ID] = k
		switch {
		case m.Audience == inbox.Global:
			w.touch(globalChange{message: m.ID})
			k.Added = w.version
		case len(recipients) > inline:
			w.touch(globalChange{message: m.ID})
			k.waiting = recipients
		default:
			w.put(k, recipients)
		}
		out, created = w.stored(k), true
		return nil
	})
}

func (w *world) put(m *kept, recipients []preference.CustomerID) {
	for _, c := range recipients {
		b := w.box(inbox.CustomerViewer(c))
		b.version++
		b.items[m.ID] = &slot{added: b.version, changed: b.version}
	}
}

// changed is what a change of a message brings with it.
func (w *world) changed(m *kept) {
	switch {
	case m.Audience == inbox.Global:
		w.touch(globalChange{message: m.ID})
	case len(m.recipients) > inline:
		w.touch(globalChange{message: m.ID})
		if !m.RetractedAt.IsZero() {
			w.leaving = append(w.leaving, m.ID)
		}
	default:
		for _, c := range m.recipients {
			b := w.box(inbox.CustomerViewer(c))
			b.version++
			b.items[m.ID].changed, b.items[m.ID].gone = b.version, !m.RetractedAt.IsZero()
		}
	}
}

func (w *world) Message(_ context.Context, id inbox.MessageID) (out ports.StoredMessage, err error) {
	return out, w.in("Message", func() error {
		m := w.messages[id]
		if m == nil {
			return errNotFound()
		}
		out = w.stored(m)
		return nil
	})
}

func (w *world) MessageNamed(_ context.Context, source, externalID string) (out ports.StoredMessage, err error) {
	return out, w.in("MessageNamed", func() error {
		m := w.named(source, externalID)
		if m == nil {
			return errNotFound()
		}
		out = w.stored(m)
		return nil
	})
}

func (w *world) Messages(_ context.Context, ids []inbox.MessageID) (out map[inbox.MessageID]*inbox.Message, err error) {
	return out, w.in("Messages", func() error {
		out = map[inbox.MessageID]*inbox.Message{}
		for _, id := range ids {
			if m := w.messages[id]; m != nil {
				one := m.Message
				out[id] = &one
			}
		}
		return nil
	})
}

func (w *world) EditMessage(_ context.Context, id inbox.MessageID, fn func(inbox.Message, *inbox.Links, time.Time) (*inbox.Message, error)) (out ports.StoredMessage, err error) {
	return out, w.in("EditMessage", func() error {
		m := w.messages[id]
		if m == nil {
			return errNotFound()
		}
		edited, err := fn(m.Message, w.links(), w.now())
		if err != nil {
			return err
		}
		m.Message = *edited
		w.changed(m)
		out = w.stored(m)
		return nil
	})
}

func (w *world) RetractMessage(_ context.Context, id inbox.MessageID) (out ports.StoredMessage, err error) {
	return out, w.in("RetractMessage", func() error {
		m := w.messages[id]
		if m == nil {
			return errNotFound()
		}
		if m.RetractedAt.IsZero() {
			m.RetractedAt = w.now()
			w.changed(m)
		}
		out = w.stored(m)
		return nil
	})
}

// Deliver takes one recipient at a time in, or the message out of one inbox.
func (w *world) Deliver(_ context.Context, id inbox.MessageID) (done, left int, err error) {
	return done, left, w.in("Deliver", func() error {
		m := w.messages[id]
		if m == nil {
			return errNotFound()
		}
		if len(m.waiting) > 0 {
			w.put(m, m.waiting[:1])
			m.waiting = m.waiting[1:]
			done, left = 1, len(m.waiting)
			return nil
		}
		if !slices.Contains(w.leaving, id) {
			return nil
		}
		for _, c := range m.recipients {
			b := w.box(inbox.CustomerViewer(c))
			if s := b.items[id]; s != nil && !s.gone {
				b.version++
				s.gone, s.changed = true, b.version
				done++
			}
		}
		w.leaving = slices.DeleteFunc(slices.Clone(w.leaving), func(l inbox.MessageID) bool { return l == id })
		w.touch(globalChange{message: id})
		return nil
	})
}

func (w *world) Undelivered(context.Context, time.Time, int) (out []inbox.MessageID, err error) {
	return out, w.in("Undelivered", func() error {
		for id, m := range w.messages {
			if len(m.waiting) > 0 {
				out = append(out, id)
			}
		}
		return nil
	})
}

func (w *world) PutTarget(_ context.Context, t inbox.LinkTarget) (stored inbox.LinkTarget, created bool, err error) {
	return t, created, w.in("PutTarget", func() error {
		old, known := w.targets[t.Key]
		created = !known
		if t.PatternAt = old.PatternAt; t.Pattern.String() != old.Pattern.String() {
			t.PatternAt = w.now()
		}
		w.recast(t.Key, func() { w.targets[t.Key] = t })
		return nil
	})
}

// recast changes the catalogue, and tells of every target whose links may lead elsewhere by that.
func (w *world) recast(key inbox.TargetKey, change func()) {
	concerned := w.links().Related(key)
	change()
	w.version++
	for _, key := range append(concerned, w.links().Related(key)...) {
		w.changes = append(w.changes, globalChange{version: w.version, target: key})
	}
}

func (w *world) DeleteTarget(_ context.Context, key inbox.TargetKey) error {
	return w.in("DeleteTarget", func() error {
		if _, known := w.targets[key]; !known {
			return errNotFound()
		}
		w.recast(key, func() { delete(w.targets, key) })
		return nil
	})
}

func (w *world) Targets(context.Context) (out []inbox.LinkTarget, err error) {
	return out, w.in("Targets", func() error { out = w.links().All(); return nil })
}

func (w *world) CleanUp(context.Context, time.Time, int) (out ports.CleanedUp, err error) {
	return ports.CleanedUp{Messages: 1}, w.in("CleanUp", func() error { return nil })
}

func (w *world) StartDelivery(context.Context, ports.Delivery) error {
	return w.in("StartDelivery", func() error { return nil })
}

func (w *world) Feed(_ context.Context, name string) (out ports.FeedState, err error) {
	return out, w.in("Feed", func() error { out = w.feeds[name]; return nil })
}

func (w *world) Advance(_ context.Context, name, from, to string, complete time.Time) (moved bool, err error) {
	return moved, w.in("Advance", func() error {
		f := w.feeds[name]
		if moved = f.Cursor == from; moved {
			f.Cursor = to
			if !complete.IsZero() {
				f.PulledAt = complete
			}
			w.feeds[name] = f
		}
		return nil
	})
}

func (w *world) Failed(_ context.Context, _, code string, _ time.Time) error {
	return w.in("Failed", func() error { w.failures = append(w.failures, code); return nil })
}

func (w *world) Refuse(_ context.Context, r ports.Refusal) error {
	return w.in("Refuse", func() error { w.refusals[r.Campaign.Draft.ExternalID] = r; return nil })
}

func (w *world) Refusals(_ context.Context, limit int) (out []ports.Refusal, err error) {
	return out, w.in("Refusals", func() error {
		out = slices.SortedFunc(maps.Values(w.refusals), func(a, b ports.Refusal) int { return a.At.Compare(b.At) })
		out = out[:min(len(out), limit)]
		return nil
	})
}

func (w *world) Accept(_ context.Context, _, externalID string) error {
	return w.in("Accept", func() error { delete(w.refusals, externalID); return nil })
}

func (w *world) OwnMessages(_ context.Context, source string, c preference.CustomerID) (out map[string]inbox.MessageID, err error) {
	return out, w.in("OwnMessages", func() error {
		out = map[string]inbox.MessageID{}
		for id, s := range w.box(inbox.CustomerViewer(c)).items {
			if m := w.messages[id]; m.Source == source && w.shows(id, s) {
				out[m.ExternalID] = id
			}
		}
		return nil
	})
}

// elsewhere publishes as another process does. A message without recipients is global.
func (w *world) elsewhere(t require.TestingT, title string, recipients ...preference.CustomerID) inbox.MessageID {
	d := draft(title, recipients...)
	m, created, err := w.PublishMessage(context.Background(), d.Source, d.ExternalID, recipients, inline, d.Publish)
	require.NoError(t, err)
	require.True(t, created)
	return m.ID
}

var preferenceIDs = []preference.CustomerID{ada, grace, "eve"}

func draft(title string, recipients ...preference.CustomerID) inbox.Draft {
	d := inbox.Draft{Source: "shop", ExternalID: title, Audience: inbox.Global, Recipients: recipients, Content: inbox.Content{Text: inbox.Text{Title: title}}}
	if len(recipients) > 0 {
		d.Audience = inbox.Personal
	}
	return d
}

func target(t require.TestingT, key, pattern string, active bool) inbox.LinkTarget {
	p, err := inbox.ParsePattern(pattern)
	require.NoError(t, err)
	return inbox.LinkTarget{Key: inbox.TargetKey(key), Pattern: p, Active: active}
}

// linked is a draft that leads somewhere.
func linked(link string, d inbox.Draft) inbox.Draft {
	d.Content.Link = link
	return d
}

func first(viewer inbox.Viewer) ports.FeedQuery { return ports.FeedQuery{Viewer: viewer, Limit: 20} }

// clock is a time that only the test moves.
func clock() (now func() time.Time, pass func(time.Duration)) {
	var passed atomic.Int64
	from := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return func() time.Time { return from.Add(time.Duration(passed.Load())) }, func(d time.Duration) { passed.Add(int64(d)) }
}
