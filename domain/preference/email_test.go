package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"accord/domain/consent"
	"accord/domain/fault"
	. "accord/domain/preference"
)

const waits = time.Hour

func confirming(t require.TestingT) *Catalogue {
	c, err := catalogue.WithEmail(waits, Topic{Key: "offers", Title: "Offers"}, Topic{Key: "tips", Title: "Tips"})
	return ok(t, c, err)
}

// subscriptions drives one customer's subscription under double opt-in through requests, confirmations, withdrawals, time
// and outages in any order.
type subscriptions struct {
	*shelf
	did      map[int64]string // by operation: ask, confirm, withdraw
	requests []string
	last     string // what was accepted last
}

func (m *subscriptions) take(t *rapid.T, what string, r Request) error {
	err := m.update(t, "", func(a *Account) error { _, _, err := a.Accept(r, m.now); return err })
	if err == nil {
		m.did[m.lastNumber], m.last = what, what
	}
	return err
}

func (m *subscriptions) asks(t *rapid.T) {
	m.tick(time.Second)
	r := m.request(setEmail(t, Subscribed))
	r.Source = rapid.SampledFrom([]Source{FromApp, FromOperator, FromCRM, FromCMP, FromExternal}).Draw(t, "source")
	r.Elsewhere = r.Source != FromApp && rapid.Bool().Draw(t, "elsewhere")
	if r.Elsewhere && rapid.Bool().Draw(t, "known when") {
		r.DecidedAt = m.now.Add(-time.Duration(rapid.IntRange(0, 4000).Draw(t, "seconds ago")) * time.Second)
	}
	if err := m.take(t, "ask", r); err != nil {
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		return
	}
	m.requests = append(m.requests, r.ID)
}

func (m *subscriptions) withdraws(t *rapid.T) {
	m.tick(time.Second)
	r := m.request(setEmail(t, Unsubscribed))
	r.Source = rapid.SampledFrom([]Source{FromApp, FromCRM, FromEmailLink}).Draw(t, "source")
	require.NoError(t, m.take(t, "withdraw", r), "a withdrawal is never refused")
}

func (m *subscriptions) confirms(t *rapid.T) {
	m.tick(time.Second)
	request := rapid.SampledFrom(append([]string{"op-of-nobody"}, m.requests...)).Draw(t, "request")
	r := m.request(ConfirmEmail(request))
	r.Source = FromEmailLink
	state := m.load("").EmailState(m.now)
	err := m.take(t, "confirm", r)
	if state.Status == PendingConfirmation && state.Request == request {
		require.NoError(t, err)
		return
	}
	require.Equal(t, fault.Conflict, fault.KindOf(err))
}

func (m *subscriptions) works(t *rapid.T) {
	if m.turn == 0 {
		return
	}
	op := m.op(m.turn)
	if op.Kind == Grant && rapid.Bool().Draw(t, "a target refuses") {
		number := m.begin(t)
		require.NoError(t, m.step(t, number, func(a *Account, op *Operation) error {
			if op.Status.Settled() {
				return nil
			}
			return a.StartCompensation(op, refused, m.now)
		}))
		require.NoError(t, m.step(t, number, func(a *Account, op *Operation) error { return a.Compensate(op, nil, m.now) }))
		return
	}
	number := m.begin(t)
	require.NoError(t, m.step(t, number, func(a *Account, op *Operation) error {
		if op.Status.Settled() {
			return nil
		}
		return a.Commit(op, m.now)
	}))
}

func (m *subscriptions) waits(t *rapid.T) {
	m.tick(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
}

func (m *subscriptions) invariants(t *rapid.T) {
	confirmed := false
	for _, number := range m.ended {
		if m.op(number).Status != Applied {
			continue
		}
		switch m.did[number] {
		case "confirm":
			confirmed = true
		case "withdraw":
			confirmed = false
		}
	}
	p := m.preferences()
	status := p.Email().Status
	if status == Subscribed {
		require.True(t, confirmed, "subscribed without a confirmation")
	}
	require.Equal(t, status == Subscribed, p.Desired(CRM)[Item{Kind: EmailItem}] == On)
	if status != Subscribed {
		require.NotEqual(t, On, p.Desired(CMP).State(Item{PurposeItem, string(emailMarketing)}))
	}
	a := m.load("")
	if m.last == "withdraw" {
		require.NotEmpty(t, p.AsOf(m.now).EmailBlockers("", a.Holds()), "withdrawn last")
		require.Equal(t, Unsubscribed, a.EmailState(m.now).Status)
	}
	if e := p.AsOf(m.now).Email(); e.Status == PendingConfirmation {
		require.True(t, m.now.Before(e.Until))
		require.Contains(t, m.requests, e.Request)
	}
}

// TestNobodyIsSubscribedUnconfirmed: with double opt-in, in whatever order things come. To see it fail, let
// emailRequested leave a change as it is, or confirmable forget the time or the request.
func TestNobodyIsSubscribedUnconfirmed(t *testing.T) {
	t.Parallel()
	cat := confirming(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &subscriptions{shelf: shelfOf(cat), did: map[int64]string{}}
		t.Repeat(map[string]func(*rapid.T){"": m.invariants, "ask": m.asks, "withdraw": m.withdraws, "confirm": m.confirms,
			"confirm too": m.confirms, "work": m.works, "work more": m.works, "wait": m.waits})
	})
}

func TestAConfirmationCountsFromWhenItWasGivenAndUntilTheTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		after time.Duration
		want  Status
	}{{waits - time.Microsecond, Applied}, {waits, ""}} {
		s := shelfOf(confirming(t))
		asked := s.accept(t, setEmail(t, Subscribed))
		s.finish(t)
		require.Equal(t, PendingConfirmation, s.preferences().Email().Status)
		require.Equal(t, Targets[:1], s.op(asked).Targets[:1])
		s.tick(test.after)
		r := s.request(ConfirmEmail("op-1"))
		err := s.update(t, "", func(a *Account) error { _, _, err := a.Accept(r, s.now); return err })
		if test.want == "" {
			require.ErrorIs(t, err, fault.New(fault.Conflict, "expired", ""))
			require.Equal(t, "1~expired", TagAt("1", s.preferences(), nil, s.now), "a reader sees something else now")
			continue
		}
		require.NoError(t, err)
		s.tick(waits) // the targets are slow
		require.NoError(t, s.step(t, s.turn, func(a *Account, op *Operation) error { a.WentAhead(op); return nil }))
		number := s.turn
		require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error {
			op.Deadline = s.now.Add(time.Minute)
			return a.Begin(op, s.run, s.now)
		}))
		require.NoError(t, s.step(t, number, func(a *Account, op *Operation) error { return a.Commit(op, s.now) }))
		require.Equal(t, test.want, s.op(number).Status)
		require.Equal(t, Subscribed, s.preferences().Email().Status)
		require.Equal(t, ConsentGranted, s.preferences().Purpose(emailMarketing))
	}
}

// The CRM tells of a subscription that nobody has confirmed: it is put right, and the CMP hears of nothing granted.
func TestWhoeverTellsOfAnUnconfirmedSubscriptionIsPutRight(t *testing.T) {
	t.Parallel()
	s := shelfOf(confirming(t))
	r := s.request(setEmail(t, Subscribed))
	r.Source = FromCRM
	require.NoError(t, s.update(t, "", func(a *Account) error { _, _, err := a.Accept(r, s.now); return err }))
	op := s.op(1)
	require.Contains(t, op.Targets, CRM)
	before, after := Restore(ada, op.Before, s.catalogue), Restore(ada, op.After, s.catalogue)
	held := Holding{{Kind: EmailItem}: On}
	require.Equal(t, Off, Assign(CRM, op.Change, before, after, held).Write[Item{Kind: EmailItem}])
	require.Empty(t, Assign(CMP, op.Change, before, after, Holding{}).Write)
}

func TestTheLedgerTellsOfARequestAndItsConfirmation(t *testing.T) {
	t.Parallel()
	s := shelfOf(confirming(t))
	change, err := SetEmail(Subscribed, &Wording{ID: "newsletter-3", Locale: "de"})
	s.accept(t, ok(t, change, err))
	s.finish(t)
	s.accept(t, ConfirmEmail("op-1"))
	s.finish(t)
	asked, confirmed := s.entries(t, 1)[1], s.entries(t, 2)[1]
	require.Equal(t, []any{"unsubscribed", "pending_confirmation"}, []any{asked.Before["email.marketing"], asked.After["email.marketing"]})
	require.Equal(t, s.op(1).AcceptedAt.Add(waits).Format(time.RFC3339Nano), asked.After["email.confirm_until"])
	require.Equal(t, []any{"pending_confirmation", "subscribed"}, []any{confirmed.Before["email.marketing"], confirmed.After["email.marketing"]})
	require.Equal(t, &consent.Wording{ID: "newsletter-3", Locale: "de"}, confirmed.Wording)
}

func topic(t require.TestingT, key TopicKey, on bool) Change {
	c, err := SwitchEmail("", map[TopicKey]bool{key: on}, nil)
	return ok(t, c, err)
}

func TestTopicsAreMaskedAndNeverChanged(t *testing.T) {
	t.Parallel()
	cat := must(catalogue.WithEmail(0, Topic{Key: "offers"}, Topic{Key: "tips"}))
	item := Item{EmailTopicItem, "offers"}
	p := after(t, Defaults(ada, cat), setEmail(t, Subscribed), topic(t, "offers", true))
	require.Empty(t, p.EmailBlockers("offers", nil))
	require.Equal(t, []Blocker{BlockedByTopic}, p.EmailBlockers("tips", nil))
	require.Equal(t, []Blocker{BlockedByHold}, p.EmailBlockers("offers", []Hold{topic(t, "offers", false).Hold()}))
	require.Empty(t, p.EmailBlockers("", []Hold{topic(t, "offers", false).Hold()}), "the others go on")
	p = after(t, p, setEmail(t, Unsubscribed))
	require.True(t, p.Topic("offers").Enabled)
	require.Equal(t, On, p.Desired(CRM)[item])
	require.Equal(t, Off, p.Desired(CRM)[Item{Kind: EmailItem}])
	require.NotContains(t, p.Desired(CMP), item)

	off := topic(t, "offers", false)
	require.Equal(t, Withdrawal, off.Kind())
	require.Equal(t, []Target{CRM}, off.Targets(cat, FromApp))
	before := p
	p = after(t, p, off)
	a := Assign(CRM, off, before, p, Holding{item: On, {EmailTopicItem, "tips"}: Off, {Kind: EmailItem}: On})
	require.Equal(t, Off, a.Write[item])
	require.NotContains(t, a.Write, Item{Kind: EmailItem}, "what else differs is drift")
	restore, left := a.Undo(a.Write)
	require.Equal(t, On, restore[item], "an undo is exact")
	require.Empty(t, left)

	_, err := p.Apply(topic(t, "fax", true), start, FromApp)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = SwitchEmail("", nil, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = SwitchEmail(PendingConfirmation, nil, nil)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "that follows, and is not chosen")
	require.True(t, ConfirmEmail("").IsZero())
	_, err = cat.WithEmail(0, Topic{Key: "a"}, Topic{Key: "a"})
	require.Error(t, err)
	require.Equal(t, []string{"e-mail topic offers off"}, []string{off.Summary()})
	require.Equal(t, map[string]any{"email.topics.offers": false}, p.Facts(off))
}

func TestTopicsDecidedElsewhereAreOrderedByWhenTheyWere(t *testing.T) {
	t.Parallel()
	p := must(Defaults(ada, confirming(t)).Apply(topic(t, "offers", true), start, FromApp))
	_, err := p.Later(topic(t, "offers", false), start.Add(-time.Second))
	require.ErrorIs(t, err, fault.New(fault.Conflict, "superseded", ""))
	later, err := p.Later(topic(t, "offers", false), start.Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, topic(t, "offers", false), later)
	require.Contains(t, p.Concerns(later, CRM), Item{EmailTopicItem, "offers"})
}
