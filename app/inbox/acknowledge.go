package inbox

import (
	"context"
	"slices"
	"time"

	"accord/domain/fault"
	"accord/domain/inbox"
	"accord/domain/preference"
	"accord/ports"
)

// Acknowledge implements ports.Inbox.
func (s *Service) Acknowledge(ctx context.Context, viewer inbox.Viewer, items []ports.Acknowledgement) (ports.AcknowledgeResult, error) {
	ids := make([]inbox.MessageID, 0, len(items))
	for _, a := range items {
		ids = append(ids, a.Message)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var out ports.AcknowledgeResult
	var err error
	out.InboxState, err = s.change(ctx, viewer, ids, 0, func(d *desk) (bool, error) {
		out.Items, out.Changed = make([]ports.Acknowledged, 0, len(items)), 0
		for _, a := range items {
			found, known := d.find(a.Message)
			if !known && d.behind() {
				return false, nil // it may have been published a moment ago
			}
			out.Items = append(out.Items, ports.Acknowledged{Message: a.Message, Found: known, Changed: known && d.say(found, a.State, a.At)})
		}
		for i, a := range out.Items {
			if found, known := d.find(a.Message); known {
				out.Items[i].Receipt = found.receipt
			}
		}
		out.Changed = len(d.changed)
		return true, nil
	})
	return out, err
}

// AcknowledgeAll implements ports.Inbox.
func (s *Service) AcknowledgeAll(ctx context.Context, viewer inbox.Viewer, state inbox.State, asOf inbox.Version) (ports.AcknowledgeResult, error) {
	if !slices.Contains([]inbox.State{inbox.Seen, inbox.Read, inbox.Archived}, state) {
		return ports.AcknowledgeResult{}, fault.OnField("all", "unknown_state", "must be one of seen, read, archived")
	}
	var out ports.AcknowledgeResult
	var err error
	out.InboxState, err = s.change(ctx, viewer, nil, asOf.Own, func(d *desk) (bool, error) {
		if head := d.edit.Version; asOf.Own > head.Own || asOf.Global > head.Global {
			// Nobody was told this version, so nobody can have seen what is up to it.
			return false, fault.New(fault.Gone, "version-too-old", "there is no such version of this inbox; read the feed again")
		}
		if asOf.Global > d.snap.Version {
			return false, nil
		}
		for i := range d.edit.Items {
			if found, known := d.find(d.edit.Items[i].Position.ID); known {
				d.say(found, state, time.Time{})
			}
		}
		for _, m := range d.snap.Messages {
			if found, known := d.find(m.ID); known && m.Added <= asOf.Global {
				d.say(found, state, time.Time{})
			}
		}
		out.Changed = len(d.changed)
		return true, nil
	})
	return out, err
}

// change is one transaction on an inbox. decide answers false when it needs newer globals than it was given; then it is
// asked again, with those. Nothing is stored when it answers an error.
func (s *Service) change(ctx context.Context, viewer inbox.Viewer, ids []inbox.MessageID, asOf int64, decide func(*desk) (bool, error)) (ports.InboxState, error) {
	if viewer.Anonymous() {
		return ports.InboxState{}, fault.OnField("Accord-Installation-Id", "required", "must be given where nobody is signed in")
	}
	snap, err := s.globals.latest(ctx)
	if err != nil {
		return ports.InboxState{}, err
	}
	for range attempts {
		var needs int64
		head, err := s.cfg.Inboxes.UpdateInbox(ctx, viewer, ids, asOf, func(e ports.InboxEdit) (ports.InboxWrite, error) {
			d := newDesk(snap, e)
			needs = 0
			enough, err := decide(d)
			if err != nil {
				return ports.InboxWrite{}, err
			}
			if !enough {
				needs = e.Version.Global
				return ports.InboxWrite{}, errUnavailable() // nothing is to be stored
			}
			return d.write(), nil
		})
		if needs > 0 {
			if snap, err = s.globals.atLeast(ctx, needs); err != nil {
				return ports.InboxState{}, err
			}
			continue
		}
		if err != nil {
			return ports.InboxState{}, err
		}
		fits, err := s.globals.atLeast(ctx, head.Version.Global)
		if err != nil {
			return ports.InboxState{}, err
		}
		return s.state(viewer, head, fits), nil
	}
	return ports.InboxState{}, errUnavailable()
}

// desk is where the receipts of one inbox are worked on.
type desk struct {
	snap     *snapshot
	edit     ports.InboxEdit
	now      time.Time
	found    map[inbox.MessageID]*paper
	changed  map[inbox.MessageID]bool
	receipts inbox.Receipts // for global messages
	facts    []ports.Fact
}

// paper is one message on the desk.
type paper struct {
	id        inbox.MessageID
	global    bool
	published time.Time
	receipt   inbox.Receipt
}

func newDesk(snap *snapshot, e ports.InboxEdit) *desk {
	d := &desk{snap: snap, edit: e, now: e.Now.Truncate(time.Microsecond), found: make(map[inbox.MessageID]*paper, len(e.Items)),
		changed: map[inbox.MessageID]bool{}, receipts: e.Receipts}
	for _, i := range e.Items {
		if id := i.Position.ID; !snap.isLeaving(id) {
			d.found[id] = &paper{id: id, published: i.Position.Published, receipt: i.Receipt}
		}
	}
	return d
}

// behind reports whether there are newer globals than those of the snapshot.
func (d *desk) behind() bool { return d.edit.Version.Global > d.snap.Version }

// find is the message as it is on the desk, if it is in this inbox.
func (d *desk) find(id inbox.MessageID) (*paper, bool) {
	if p, known := d.found[id]; known {
		return p, true
	}
	m, shows := d.snap.Message(id)
	if !shows {
		return nil, false
	}
	p := &paper{id: id, global: true, published: m.PublishedAt, receipt: d.receipts.Of(id)}
	d.found[id] = p
	return p, true
}

// say records what the viewer did, and reports whether it made a difference.
func (d *desk) say(p *paper, state inbox.State, at time.Time) bool {
	before := p.receipt
	p.receipt = before.Apply(state, inbox.When(at, p.published, d.now))
	if p.receipt == before {
		return false
	}
	d.changed[p.id] = true
	d.facts = append(d.facts, firsts(p.id, before, p.receipt)...)
	if p.global {
		d.receipts = d.receipts.With(inbox.GlobalReceipt{ID: p.id, Receipt: p.receipt, Changed: d.edit.Next})
	}
	return true
}

// firsts are what the measures count: each the first time only. Reading again what was marked unread is not the first time.
func firsts(id inbox.MessageID, before, after inbox.Receipt) (out []ports.Fact) {
	count := func(kind string, was, is time.Time) {
		if was.IsZero() && !is.IsZero() {
			out = append(out, ports.Fact{Day: is.UTC().Truncate(24 * time.Hour), Kind: kind, Message: id, Count: 1})
		}
	}
	count(ports.FactSeen, before.SeenAt, after.SeenAt)
	if before.UnreadAt.IsZero() {
		count(ports.FactRead, before.ReadAt, after.ReadAt)
	}
	count(ports.FactClicked, before.ClickedAt, after.ClickedAt)
	return out
}

// write is what is to be stored: only what is different.
func (d *desk) write() ports.InboxWrite {
	w := ports.InboxWrite{Facts: d.facts}
	global := false
	for id := range d.changed {
		p := d.found[id]
		if p.global {
			global = true
			continue
		}
		if w.Receipts == nil {
			w.Receipts = make(map[inbox.MessageID]inbox.Receipt, len(d.changed))
		}
		w.Receipts[id] = p.receipt
	}
	if global {
		w.Globals = d.known(d.receipts)
	}
	return w
}

// known leaves out receipts for messages that are gone, as far as the snapshot can tell.
func (d *desk) known(rs inbox.Receipts) inbox.Receipts {
	if d.behind() {
		return rs
	}
	return rs.Keep(func(id inbox.MessageID) bool { _, shows := d.snap.Message(id); return shows })
}

// Merge implements ports.Inbox. Nothing is counted: what the installation did was counted when it did it.
func (s *Service) Merge(ctx context.Context, customer preference.CustomerID, installation inbox.InstallationID) (ports.MergeResult, error) {
	snap, err := s.globals.latest(ctx)
	if err != nil {
		return ports.MergeResult{}, err
	}
	var out ports.MergeResult
	viewer := inbox.CustomerViewer(customer)
	head, err := s.cfg.Inboxes.TakeReceipts(ctx, inbox.InstallationViewer(installation), viewer,
		func(taken inbox.Receipts, into ports.InboxEdit) (ports.InboxWrite, error) {
			d := newDesk(snap, into)
			merged, changed := into.Receipts.Merge(d.known(taken), into.Next)
			out.Merged = len(changed)
			if len(changed) == 0 {
				return ports.InboxWrite{}, nil
			}
			return ports.InboxWrite{Globals: d.known(merged)}, nil
		})
	if err != nil {
		return ports.MergeResult{}, err
	}
	fits, err := s.globals.atLeast(ctx, head.Version.Global)
	if err != nil {
		return ports.MergeResult{}, err
	}
	out.InboxState = s.state(viewer, head, fits)
	return out, nil
}
