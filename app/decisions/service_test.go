package decisions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/decisions"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
	"accord/ports/mocks"
)

const ada preference.CustomerID = "ada"

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// world is the use case over one customer's account in memory. Changes are accepted and never settle by themselves.
type world struct {
	*decisions.Service
	t        *testing.T
	mu       sync.Mutex
	account  *preference.Account
	commands []ports.ChangeCommand
	received map[string]ports.ReceivedEvent
	written  []preference.Written
	counted  map[string]int
	down     error // what Change answers instead
}

// told is the reader's answer, in place of a body.
type told []ports.WebhookEvent

func (r told) Read(body []byte) ([]ports.WebhookEvent, error) {
	if string(body) == "broken" {
		return nil, fault.OnField("type", "required", "must be given")
	}
	return append([]ports.WebhookEvent(nil), r...), nil
}

var secret, _ = webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

const shared = "a-secret-that-is-sent-as-it-is"

func newWorld(t *testing.T, from preference.Source, events ...ports.WebhookEvent) *world {
	cat, err := preference.NewCatalogue("email-marketing", preference.Channel{Key: "promotions", Purpose: "push-marketing"}, preference.Channel{Key: "orders", Required: true})
	require.NoError(t, err)
	w := &world{t: t, received: map[string]ports.ReceivedEvent{}, counted: map[string]int{},
		account: preference.RestoreAccount(preference.Standing{Preferences: preference.Defaults(ada, cat), Chain: consent.Chain{ID: "ch_ada", Key: consent.Key{1}}})}
	ctrl := gomock.NewController(t)
	accounts := mocks.NewMockAccounts(ctrl)
	accounts.EXPECT().Load(gomock.Any(), gomock.Any()).DoAndReturn(func(context.Context, preference.CustomerID) (*preference.Account, error) {
		return w.account, nil
	}).AnyTimes()
	prefs := mocks.NewMockPreferences(ctrl)
	prefs.EXPECT().Change(gomock.Any(), gomock.Any()).DoAndReturn(w.change).AnyTimes()
	store := mocks.NewMockDecisionStore(ctrl)
	store.EXPECT().Received(gomock.Any(), gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, _ string, ids []string) (map[string]bool, error) {
		out := map[string]bool{}
		for _, id := range ids {
			if _, known := w.received[id]; known {
				out[id] = true
			}
		}
		return out, nil
	}).AnyTimes()
	store.EXPECT().Record(gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, events []ports.ReceivedEvent) error {
		for _, e := range events {
			w.received[e.ID] = e
		}
		return nil
	}).AnyTimes()
	store.EXPECT().WrittenTo(gomock.Any(), ada, from.Origin(), gomock.Any(), gomock.Any()).DoAndReturn(
		func(context.Context, preference.CustomerID, preference.Target, time.Time, time.Time) ([]preference.Written, error) {
			return w.written, nil
		}).AnyTimes()
	w.Service = decisions.New(decisions.Config{Sources: map[string]ports.WebhookSource{
		"vendor": {Reader: told(events), From: from, Secrets: []webhook.Secret{secret}},
		"simple": {Reader: told(events), From: from, Shared: []string{shared}},
		"unset":  {Reader: told(events), From: from},
	}, Preferences: prefs, Accounts: accounts, Store: store, Now: func() time.Time { return now },
		Observe: func(source, outcome string) { w.mu.Lock(); w.counted[source+" "+outcome]++; w.mu.Unlock() }, Logger: slog.New(slog.DiscardHandler)})
	return w
}

// change accepts, as the real one does, without a run.
func (w *world) change(_ context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return ports.ChangeResult{}, w.down
	}
	for n, before := range w.commands {
		if before.Key == c.Key {
			return ports.ChangeResult{Operation: *w.account.Open()[n], Replayed: true}, nil
		}
	}
	op, _, err := w.account.Accept(preference.Request{ID: "op_" + strconv.Itoa(len(w.commands)), Change: c.Change, Source: c.Source, Actor: c.Actor, Origin: c.Origin,
		Key: c.Key, Fingerprint: c.Fingerprint, Budget: time.Minute, Cause: c.Cause, Only: c.Only, Elsewhere: c.Elsewhere, DecidedAt: c.DecidedAt}, now)
	if err != nil {
		return ports.ChangeResult{}, err
	}
	w.commands = append(w.commands, c)
	return ports.ChangeResult{Operation: *op}, nil
}

// holds makes something hold already, decided at a time.
func (w *world) holds(channel string, on bool, at time.Time) {
	c, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{preference.ChannelKey(channel): on}, nil)
	require.NoError(w.t, err)
	_, _, err = w.account.Accept(preference.Request{ID: "op_before", Change: c, Source: preference.FromCRM, Actor: consent.Actor{Type: "system", ID: "x"}, Budget: time.Minute}, at)
	require.NoError(w.t, err)
	w.commands = append(w.commands, ports.ChangeCommand{Key: "before"})
}

func message(id string, at time.Time, body string) ports.WebhookMessage {
	header := map[string]string{webhook.HeaderID: id, webhook.HeaderTimestamp: strconv.FormatInt(at.Unix(), 10),
		webhook.HeaderSignature: webhook.Sign([]webhook.Secret{secret}, id, at, []byte(body))}
	return ports.WebhookMessage{Header: func(name string) string { return header[name] }, Body: []byte(body), RequestID: "r1"}
}

func promotions(id string, on bool, at time.Time) ports.WebhookEvent {
	return ports.WebhookEvent{ID: id, Told: preference.Told{Customer: ada, At: at, Channels: map[preference.ChannelKey]bool{"promotions": on}}}
}

func (w *world) receive(m ports.WebhookMessage) []ports.ReceivedEvent {
	w.t.Helper()
	receipt, err := w.Receive(w.t.Context(), "vendor", m)
	require.NoError(w.t, err)
	return receipt.Events
}

func TestADecisionBecomesAnOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, promotions("e1", true, now.Add(-time.Minute)))
	got := w.receive(message("m1", now, "x"))
	require.Equal(t, ports.DecisionAccepted, got[0].Outcome)
	require.Equal(t, "op_0", got[0].Operation)
	op := w.account.Open()[0]
	require.Equal(t, []preference.Target{preference.Push, preference.CMP}, op.Targets, "not where it came from")
	require.Equal(t, now.Add(-time.Minute), op.DecidedAt)
	require.Equal(t, preference.FromCRM, op.Source)
	require.Equal(t, "webhook:vendor:e1:channel/promotions", op.Key)
	require.Equal(t, consent.Actor{Type: "system", ID: "webhook:vendor"}, op.Actor)

	require.Equal(t, ports.DecisionDuplicate, w.receive(message("m2", now, "x"))[0].Outcome, "the event's own id counts")
	require.Len(t, w.account.Open(), 1)
	require.Equal(t, map[string]int{"vendor accepted": 1, "vendor duplicate": 1}, w.counted)
}

func TestARepeatAfterACrashFindsItsOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, promotions("e1", true, now.Add(-time.Minute)))
	w.receive(message("m1", now, "x"))
	w.received = map[string]ports.ReceivedEvent{} // the record was lost
	require.Equal(t, ports.DecisionAccepted, w.receive(message("m1", now, "x"))[0].Outcome)
	require.Len(t, w.account.Open(), 1)
}

func TestALateDecisionIsSupersededAndTheOriginPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, promotions("e1", true, now.Add(-time.Hour)))
	w.holds("promotions", false, now.Add(-time.Minute))
	require.Equal(t, ports.DecisionSuperseded, w.receive(message("m1", now, "x"))[0].Outcome)
	right := w.account.Open()[1]
	require.Equal(t, preference.Withdrawal, right.Kind, "the CRM would send, and must not")
	require.Equal(t, []preference.Target{preference.CRM}, right.Targets)
	require.Equal(t, preference.FromReconciler, right.Source)
	require.Equal(t, "superseded_decision", right.Cause)
}

func TestALateEchoOfAGrantThatWasTakenBackNeverGrantsAgain(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Time{"in time": now.Add(-10 * time.Second), "a clock ahead": now.Add(20 * time.Second), "without a time": {}} {
		w := newWorld(t, preference.FromCRM, promotions("e1", true, at))
		item := preference.Item{Kind: preference.ChannelItem, Key: "promotions"}
		w.written = []preference.Written{{Write: preference.Holding{item: preference.On}, Restore: preference.Holding{item: preference.Off},
			From: now.Add(-20 * time.Second), Until: now.Add(-5 * time.Second)}}
		require.Equal(t, ports.DecisionEcho, w.receive(message("m1", now, "x"))[0].Outcome, name)
		for _, op := range w.account.Open() {
			require.Equal(t, preference.Withdrawal, op.Kind, name)
			require.Equal(t, []preference.Target{preference.CRM}, op.Targets, name)
		}
		require.False(t, w.account.Expected().Channel("promotions").Enabled, name)
	}
}

func TestARequiredChannelIsSwitchedOnAgainAtItsOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, ports.WebhookEvent{ID: "e1", Told: preference.Told{Customer: ada, At: now, Channels: map[preference.ChannelKey]bool{"orders": false}}})
	require.Equal(t, ports.DecisionRequired, w.receive(message("m1", now, "x"))[0].Outcome)
	require.Equal(t, preference.Grant, w.account.Open()[0].Kind)
	require.Equal(t, "put right channel/orders", w.account.Open()[0].Change.Summary())
}

func TestWhatCouldNotBeTakenIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, promotions("e1", false, now.Add(-time.Minute)), ports.WebhookEvent{ID: "e2", Ignored: "unknown_type"})
	w.down = fault.New(fault.Unavailable, "unavailable", "no database")
	_, err := w.Receive(t.Context(), "vendor", message("m1", now, "x"))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, "unknown_type", w.received["e2"].Reason, "what was dealt with is recorded")
	require.NotContains(t, w.received, "e1")

	w.down = errors.New("a bug")
	_, err = w.Receive(t.Context(), "vendor", message("m1", now, "x"))
	require.ErrorContains(t, err, "a bug")

	w.down = nil
	got := w.receive(message("m1", now, "x"))
	require.Equal(t, ports.DecisionAccepted, got[0].Outcome)
	require.Equal(t, ports.DecisionDuplicate, got[1].Outcome)
}

func TestOnlyTheSourceIsHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromCRM, promotions("e1", true, now))
	forged := message("m1", now, "x")
	forged.Body = []byte("y")
	for name, m := range map[string]ports.WebhookMessage{"forged": forged, "old": message("m1", now.Add(-6*time.Minute), "x"),
		"unsigned": {Header: func(string) string { return "" }, Body: []byte("x")}} {
		_, err := w.Receive(t.Context(), "vendor", m)
		require.Equal(t, fault.Denied, fault.KindOf(err), name)
	}
	for _, source := range []string{"unset", "nobody"} {
		_, err := w.Receive(t.Context(), source, message("m1", now, "x"))
		require.Equal(t, fault.NotFound, fault.KindOf(err), source)
	}
	_, err := w.Receive(t.Context(), "vendor", message("m1", now, "broken"))
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.Empty(t, w.commands)
	require.Equal(t, 3, w.counted["vendor refused"])
}

func TestASecretThatIsSentAsItIs(t *testing.T) {
	t.Parallel()
	send := func(authorization string) error {
		w := newWorld(t, preference.FromCRM, promotions("e1", true, now))
		_, err := w.Receive(t.Context(), "simple", ports.WebhookMessage{Body: []byte("x"), Header: func(name string) string {
			if name == "authorization" {
				return authorization
			}
			return ""
		}})
		return err
	}
	require.NoError(t, send("Bearer "+shared))
	require.NoError(t, send("Basic "+base64.StdEncoding.EncodeToString([]byte("braze:"+shared))))
	for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer " + shared + "x", "Basic !", "Basic " + base64.StdEncoding.EncodeToString([]byte(shared)), shared} {
		require.Equal(t, fault.Denied, fault.KindOf(send(wrong)), wrong)
	}
}

func TestEventsWithoutAnID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, preference.FromExternal, promotions("", true, now.Add(-time.Minute)), promotions(strings.Repeat("x", 300), false, now))
	got := w.receive(message("m1", now, "x"))
	require.Equal(t, "m1:0", got[0].ID)
	require.Less(t, len(got[1].ID), 100)
	require.Equal(t, ports.DecisionDuplicate, w.receive(message("m1", now, "x"))[0].Outcome)
}
