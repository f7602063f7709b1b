package email_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/email"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

const ada preference.CustomerID = "ada"

// world is one customer's account in memory, over the real domain. Changes are settled at once unless told otherwise.
type world struct {
	*email.Service
	t         *testing.T
	now       time.Time
	catalogue *preference.Catalogue
	standing  preference.Standing
	ops       []*preference.Operation
	sealed    map[string]ports.Link
	down      bool // the database
	stuck     bool // nothing is worked on: Temporal is down, or a target
	refuse    bool // every change is taken back
	ports.Accounts
	ports.Preferences
}

func newWorld(t *testing.T, confirm time.Duration) *world {
	t.Helper()
	catalogue, err := preference.NewCatalogue("email-marketing", preference.Channel{Key: "news"})
	require.NoError(t, err)
	catalogue, err = catalogue.WithEmail(confirm, preference.Topic{Key: "offers", Title: "Offers"})
	require.NoError(t, err)
	w := &world{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), catalogue: catalogue, sealed: map[string]ports.Link{},
		standing: preference.Standing{Preferences: preference.Defaults(ada, catalogue), Chain: consent.Chain{ID: "ch_ada", Key: consent.Key{1}}}}
	w.Service = email.New(email.Config{Accounts: w, Preferences: w, Tokens: w, Catalogue: catalogue, PublicURL: "https://mail.example/",
		Now: func() time.Time { return w.now }})
	return w
}

func (w *world) Seal(l ports.Link) (string, error) {
	token := fmt.Sprint("token-", len(w.sealed))
	w.sealed[token] = l
	return token, nil
}

func (w *world) Open(token string) (ports.Link, error) {
	l, known := w.sealed[token]
	if !known {
		return l, fault.New(fault.NotFound, "link-unknown", "no such link")
	}
	return l, nil
}

var errDown = fault.New(fault.Unavailable, "unavailable", "no database")

func (w *world) Load(context.Context, preference.CustomerID) (*preference.Account, error) {
	if w.down {
		return nil, errDown
	}
	return preference.RestoreAccount(w.standing), nil
}

func (w *world) Change(_ context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	if w.down {
		return ports.ChangeResult{}, errDown
	}
	a := preference.RestoreAccount(w.standing)
	op, _, err := a.Accept(preference.Request{ID: fmt.Sprint("op-", len(w.ops)+1), Change: c.Change, Source: c.Source, Actor: c.Actor, Origin: c.Origin,
		Unless: c.Unless, Budget: time.Minute}, w.now)
	if err != nil {
		return ports.ChangeResult{}, err
	}
	w.ops = append(w.ops, op)
	if !w.stuck {
		_, run := a.Turn()
		require.NoError(w.t, a.Begin(op, run, w.now))
		switch {
		case op.Status.Settled():
		case w.refuse:
			require.NoError(w.t, a.StartCompensation(op, consent.Reason{Code: "refused", Target: "crm"}, w.now))
			require.NoError(w.t, a.Compensate(op, nil, w.now))
		default:
			require.NoError(w.t, a.Commit(op, w.now))
		}
	}
	w.standing = a.Standing()
	return ports.ChangeResult{Operation: *op}, nil
}

func (w *world) tick(d time.Duration) { w.now = w.now.Add(d) }

// app is what the customer does in the app.
func (w *world) app(status preference.EmailStatus, topics ...preference.TopicKey) {
	w.t.Helper()
	on := map[preference.TopicKey]bool{}
	for _, key := range topics {
		on[key] = true
	}
	c, err := preference.SwitchEmail(status, on, &preference.Wording{ID: "newsletter", Locale: "en"})
	require.NoError(w.t, err)
	_, err = w.Change(w.t.Context(), ports.ChangeCommand{Customer: ada, Change: c, Source: preference.FromApp})
	require.NoError(w.t, err)
	w.tick(time.Second)
}

func (w *world) link(topic preference.TopicKey) string {
	w.t.Helper()
	url, err := w.NewUnsubscribe(w.t.Context(), ada, topic)
	require.NoError(w.t, err)
	w.tick(time.Second)
	return token(w.t, url, "https://mail.example/u/")
}

func token(t *testing.T, url, prefix string) string {
	t.Helper()
	out, found := strings.CutPrefix(url, prefix)
	require.True(t, found, url)
	return out
}

func (w *world) click(token string) ports.LinkView {
	w.t.Helper()
	v, err := w.Unsubscribe(w.t.Context(), ports.LinkUse{Token: token, OneClick: true})
	require.NoError(w.t, err)
	require.True(w.t, v.Done)
	w.tick(time.Second)
	return v
}

func (w *world) status() preference.EmailStatus {
	return preference.RestoreAccount(w.standing).EmailState(w.now).Status
}

func TestAClickWithdrawsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.app(preference.Subscribed)
	link := w.link("")
	for range 3 {
		v, err := w.Look(t.Context(), ports.UnsubscribeLink, link)
		require.NoError(t, err)
		require.Equal(t, ports.LinkView{Known: true}, v)
	}
	require.Len(t, w.ops, 1, "looking changes nothing")
	require.True(t, w.click(link).Changed)
	op := w.ops[1]
	require.Equal(t, []any{preference.Withdrawal, preference.FromEmailLink, email.MailProvider}, []any{op.Kind, op.Source, op.Actor})
	for range 3 {
		require.False(t, w.click(link).Changed)
	}
	require.Len(t, w.ops, 2, "and no second operation")
	require.Equal(t, preference.Unsubscribed, w.status())
	v, err := w.Look(t.Context(), ports.UnsubscribeLink, link)
	require.NoError(t, err)
	require.True(t, v.Done)
}

func TestAPersonOnThePageIsTheCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	_, err := w.Unsubscribe(t.Context(), ports.LinkUse{Token: w.link(""), RequestID: "r-1"})
	require.NoError(t, err)
	require.Equal(t, consent.Actor{Type: "customer", ID: "ada"}, w.ops[0].Actor)
	require.Equal(t, consent.Origin{Source: "email_link", RequestID: "r-1"}, w.ops[0].Origin)
}

// Somebody who is sent e-mail although we hold them unsubscribed must be heard: a vendor holds something else.
func TestAClickChangesSomethingWheneverTheMailCameAfterTheLastWithdrawal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	require.True(t, w.click(w.link("")).Changed, "never subscribed here, and sent e-mail all the same")
	later := w.link("")
	require.True(t, w.click(later).Changed, "unsubscribed, and sent e-mail after it")
	require.False(t, w.click(later).Changed)
	w.app(preference.Subscribed)
	require.True(t, w.click(later).Changed, "an old link, and subscribed since")
	require.Equal(t, preference.Unsubscribed, w.status())
}

func TestAClickIsTakenWhileNothingElseWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.app(preference.Subscribed)
	link := w.link("")
	w.stuck = true
	require.True(t, w.click(link).Changed)
	acc := preference.RestoreAccount(w.standing)
	require.Contains(t, acc.Preferences().EmailBlockers("", acc.Holds()), preference.BlockedByHold, "effective at once")
	require.False(t, w.click(link).Changed)
	require.Len(t, w.ops, 2)

	w.down = true
	_, err := w.Unsubscribe(t.Context(), ports.LinkUse{Token: link})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	v, err := w.Look(t.Context(), ports.UnsubscribeLink, link)
	require.NoError(t, err, "the page with the button is there all the same")
	require.False(t, v.Known)
}

func TestALinkForATopicWithdrawsThatTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.app(preference.Subscribed, "offers")
	link := w.link("offers")
	v := w.click(link)
	require.Equal(t, []any{true, "Offers"}, []any{v.Changed, v.Topic.Title})
	require.Equal(t, preference.Subscribed, w.status())
	require.False(t, w.standing.Preferences.Topic("offers").Enabled)
	require.False(t, w.click(link).Changed)
	v, err := w.Unsubscribe(t.Context(), ports.LinkUse{Token: link, Everything: true})
	require.NoError(t, err)
	require.True(t, v.Changed)
	require.Empty(t, v.Topic.Key)
	require.Equal(t, preference.Unsubscribed, w.status())
	_, err = w.NewUnsubscribe(t.Context(), ada, "fax")
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	w.app(preference.Subscribed)
	w.sealed["retired"] = ports.Link{Purpose: ports.UnsubscribeLink, Customer: ada, Topic: "retired", Issued: w.now}
	w.click("retired")
	require.Equal(t, preference.Unsubscribed, w.status(), "a topic that is gone can only be all of it")
}

func (w *world) confirmation() string {
	w.t.Helper()
	url, expires, err := w.NewConfirmation(w.t.Context(), ada)
	require.NoError(w.t, err)
	require.True(w.t, expires.After(w.now))
	return token(w.t, url, "https://mail.example/c/")
}

func TestASubscriptionThatIsConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 72*time.Hour)
	_, _, err := w.NewConfirmation(t.Context(), ada)
	require.ErrorIs(t, err, fault.New(fault.Conflict, "nothing-to-confirm", ""))
	w.app(preference.Subscribed)
	require.Equal(t, preference.PendingConfirmation, w.status())
	link := w.confirmation()
	v, err := w.Look(t.Context(), ports.ConfirmLink, link)
	require.NoError(t, err)
	require.Equal(t, ports.LinkView{Known: true}, v)
	_, err = w.Look(t.Context(), ports.UnsubscribeLink, link)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "a link for one purpose is worth nothing for another")
	_, err = w.Unsubscribe(t.Context(), ports.LinkUse{Token: link})
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	w.refuse = true
	_, err = w.Confirm(t.Context(), ports.LinkUse{Token: link})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, preference.PendingConfirmation, w.status(), "taken back, and can be tried again")
	w.refuse = false
	v, err = w.Confirm(t.Context(), ports.LinkUse{Token: link, RequestID: "r"})
	require.NoError(t, err)
	require.True(t, v.Changed && v.Settled)
	op := w.ops[len(w.ops)-1]
	require.Equal(t, []any{preference.Grant, preference.FromEmailLink, &preference.Wording{ID: "newsletter", Locale: "en"}}, []any{op.Kind, op.Source, op.Change.Wording()})
	require.Equal(t, preference.Subscribed, w.status())
	made := len(w.ops)
	v, err = w.Confirm(t.Context(), ports.LinkUse{Token: link})
	require.NoError(t, err)
	require.True(t, v.Done && !v.Changed && v.Settled)
	require.Len(t, w.ops, made)

	w.click(w.link(""))
	_, err = w.Confirm(t.Context(), ports.LinkUse{Token: link})
	require.ErrorIs(t, err, fault.New(fault.Conflict, "superseded", ""), "who has unsubscribed since stays so")
}

func TestAConfirmationThatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	w.app(preference.Subscribed)
	link := w.confirmation()
	w.stuck = true
	for _, again := range []bool{false, true} {
		v, err := w.Confirm(t.Context(), ports.LinkUse{Token: link})
		require.NoError(t, err)
		require.True(t, v.Done)
		require.Equal(t, again, !v.Changed)
		require.False(t, v.Settled, "it may be taken back")
	}
	v, err := w.Look(t.Context(), ports.ConfirmLink, link)
	require.NoError(t, err)
	require.True(t, v.Done && !v.Settled)
}

func TestALinkThatIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Hour)
	w.app(preference.Subscribed)
	first := w.confirmation()
	w.app(preference.Subscribed)
	second := w.confirmation()
	for link, want := range map[string]string{first: "superseded", second: ""} {
		v, err := w.Look(t.Context(), ports.ConfirmLink, link)
		require.NoError(t, err)
		require.Equal(t, want, v.Over)
	}
	w.tick(2 * time.Hour)
	_, err := w.Confirm(t.Context(), ports.LinkUse{Token: second})
	require.ErrorIs(t, err, fault.New(fault.Conflict, "expired", ""))
	require.Equal(t, preference.Unsubscribed, w.status())
	_, _, err = w.NewConfirmation(t.Context(), ada)
	require.ErrorIs(t, err, fault.New(fault.Conflict, "nothing-to-confirm", ""))
}

func TestWithoutKeysThereAreNoLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.Service = email.New(email.Config{Accounts: w, Preferences: w, Catalogue: w.catalogue, Now: func() time.Time { return w.now }})
	_, err := w.NewUnsubscribe(t.Context(), ada, "")
	require.ErrorIs(t, err, fault.New(fault.Conflict, "links-not-configured", ""))
	_, err = w.Look(t.Context(), ports.UnsubscribeLink, "x")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}
