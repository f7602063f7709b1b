package portstest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Accounts is the contract of ports.Accounts. open gives an empty store.
func Accounts(t *testing.T, open func(*testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"a customer nobody has heard of has the defaults":     unknownCustomer,
		"what was accepted comes back as it was":              acceptedComesBack,
		"what was done to an operation comes back as it was":  lifeComesBack,
		"the turn goes to the next in the queue":              turnMoves,
		"a failing function stores nothing":                   failingStoresNothing,
		"a panicking function stores nothing":                 panickingStoresNothing,
		"a function that does nothing stores nothing":         idleStoresNothing,
		"a reader sees nothing of what is not stored yet":     readersSeeCommitted,
		"twenty at once are numbered without a gap":           twentyAtOnce,
		"a key gives the operation it gave before":            keyRepeats,
		"a key used at the same moment gives one operation":   keyAtOnce,
		"a key is the customer's own":                         keyPerCustomer,
		"a grant that was never started gives its key back":   keyGivenBack,
		"customers do not wait for each other":                customersIndependent,
		"an unknown operation is not found":                   unknownOperation,
		"a settled operation is handed over":                  settledHandedOver,
		"a cancelled context stores nothing and is told so":   cancelledStoresNothing,
		"many changes at once are stored together":            manyAtOnce,
		"parked, decided and taken up again":                  parkedAndDecided,
		"devices survive with their switches":                 devicesSurvive,
		"a change of one account by one operation and others": updateBySettled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func unknownCustomer(t *testing.T, s Store) {
	a := load(t, s, ada)
	require.Equal(t, preference.Defaults(ada, a.Preferences().Catalogue()).Snapshot(), a.Preferences().Snapshot())
	require.Equal(t, ada, a.Preferences().Customer())
	require.Empty(t, a.Open())
	require.Equal(t, "0", a.Tag())
}

func acceptedComesBack(t *testing.T, s Store) {
	told := Unsubscribe(ada)
	told.Source, told.Cause, told.Elsewhere, told.DecidedAt = preference.FromExternal, "told", true, Noon.Add(-time.Hour)
	for _, r := range []preference.Request{told, Subscribe(ada), Register(ada, "phone", "token-1")} {
		r.Key, r.Fingerprint = "key-"+r.ID, "print-"+r.ID
		var want preference.Operation
		require.NoError(t, s.Update(t.Context(), ada, r.Key, func(a *preference.Account) error {
			op, replayed, err := a.Accept(r, Noon)
			if err != nil {
				return err
			}
			require.False(t, replayed)
			want = *op
			return nil
		}))
		a := load(t, s, ada)
		open := a.Open()
		same(t, want, *open[len(open)-1])
		same(t, want, operation(t, s, r.ID).Operation)
	}
	turn, run := load(t, s, ada).Turn()
	require.EqualValues(t, 1, turn)
	require.EqualValues(t, 1, run)
	require.Len(t, load(t, s, ada).Holds(), 1)
	require.Equal(t, []consent.Event{consent.Requested, consent.Requested, consent.Requested}, events(chain(t, s, ada)))
}

func lifeComesBack(t *testing.T, s Store) {
	step := func(id string, fn func(*preference.Account, *preference.Operation) error) {
		t.Helper()
		var want preference.Operation
		require.NoError(t, s.UpdateOperation(t.Context(), id, func(a *preference.Account, op *preference.Operation) error {
			err := fn(a, op)
			want = *op
			return err
		}))
		same(t, want, operation(t, s, id).Operation)
	}
	grant := Subscribe(ada)
	Accept(t, s, ada, grant)
	step(grant.ID, func(a *preference.Account, op *preference.Operation) error { return a.Begin(op, 1, Noon) })
	step(grant.ID, func(a *preference.Account, op *preference.Operation) error { return a.Commit(op, Noon) })
	a := load(t, s, ada)
	require.EqualValues(t, 1, a.Preferences().Version())
	require.Equal(t, preference.Subscribed, a.Preferences().Email().Status)
	require.Equal(t, Noon, a.Preferences().Email().At)
	turn, run := a.Turn()
	require.Zero(t, turn)
	require.Zero(t, run)

	second := Subscribe(ada)
	Accept(t, s, ada, second)
	step(second.ID, func(a *preference.Account, op *preference.Operation) error { return a.Begin(op, 2, Noon) })
	step(second.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.StartCompensation(op, consent.Reason{Code: "refused", Target: "cmp", Detail: "said no"}, Noon)
	})
	step(second.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.Compensate(op, []string{"crm:email/"}, Noon)
	})
	require.EqualValues(t, 1, load(t, s, ada).Preferences().Version())
	require.Equal(t, []consent.Event{consent.Requested, consent.Applied, consent.Requested, consent.Compensated}, events(chain(t, s, ada)))

	waiting := Subscribe(ada)
	Accept(t, s, ada, Unsubscribe(ada), waiting)
	step(waiting.ID, func(a *preference.Account, _ *preference.Operation) error { return a.Expire(Noon.AddDate(0, 0, 1)) })
}

func turnMoves(t *testing.T, s Store) {
	first, second, third := Subscribe(ada), Unsubscribe(ada), Subscribe(ada)
	Accept(t, s, ada, first, second, third)
	require.EqualValues(t, 1, operation(t, s, first.ID).Run)
	require.Zero(t, operation(t, s, second.ID).Run, "it waits")
	Begin(t, s, first.ID)
	Commit(t, s, first.ID)
	turn, run := load(t, s, ada).Turn()
	require.EqualValues(t, 2, turn)
	require.EqualValues(t, 1, run, "the same run goes on")
	require.EqualValues(t, 1, operation(t, s, second.ID).Run)
	Begin(t, s, second.ID)
	Commit(t, s, second.ID)
	Begin(t, s, third.ID)
	Compensate(t, s, third.ID)
	turn, run = load(t, s, ada).Turn()
	require.Zero(t, turn)
	require.Zero(t, run)
	require.EqualValues(t, 1, operation(t, s, third.ID).Run, "it stays known which run it was")

	fourth := Unsubscribe(ada)
	Accept(t, s, ada, fourth)
	turn, run = load(t, s, ada).Turn()
	require.EqualValues(t, 4, turn)
	require.EqualValues(t, 4, run)
}

var errChanged = errors.New("changed my mind")

func failingStoresNothing(t *testing.T, s Store) {
	Accept(t, s, ada, Subscribe(ada))
	before := load(t, s, ada).Standing()
	for _, customer := range []preference.CustomerID{ada, grace} {
		r := Unsubscribe(customer)
		err := s.Update(t.Context(), customer, "", func(a *preference.Account) error {
			_, _, err := a.Accept(r, Noon)
			require.NoError(t, err)
			return errChanged
		})
		require.Same(t, errChanged, err)
		_, err = s.Operation(t.Context(), r.ID)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	}
	require.Equal(t, before, load(t, s, ada).Standing())
	require.Len(t, chain(t, s, ada), 1)
	require.Empty(t, chain(t, s, grace))

	err := s.UpdateOperation(t.Context(), before.Open[0].ID, func(a *preference.Account, op *preference.Operation) error {
		require.NoError(t, a.Begin(op, 1, Noon))
		return errChanged
	})
	require.Same(t, errChanged, err)
	require.Equal(t, preference.Accepted, operation(t, s, before.Open[0].ID).Status)
}

func panickingStoresNothing(t *testing.T, s Store) {
	require.PanicsWithValue(t, "bug", func() {
		_ = s.Update(t.Context(), ada, "", func(a *preference.Account) error {
			_, _, err := a.Accept(Subscribe(ada), Noon)
			require.NoError(t, err)
			panic("bug")
		})
	})
	require.Empty(t, chain(t, s, ada))
	Accept(t, s, ada, Subscribe(ada)) // no lock is left behind
}

func idleStoresNothing(t *testing.T, s Store) {
	require.NoError(t, s.Update(t.Context(), ada, "", func(*preference.Account) error { return nil }))
	require.Zero(t, verified(t, s, string(ada)))
}

func readersSeeCommitted(t *testing.T, s Store) {
	r := Unsubscribe(ada)
	require.NoError(t, s.Update(t.Context(), ada, "", func(a *preference.Account) error {
		_, _, err := a.Accept(r, Noon)
		require.Empty(t, load(t, s, ada).Open())
		return err
	}))
	require.Len(t, load(t, s, ada).Open(), 1)
}

func twentyAtOnce(t *testing.T, s Store) {
	const n = 20
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			r := Unsubscribe(ada)
			err := s.Update(t.Context(), ada, "", func(a *preference.Account) error {
				_, _, err := a.Accept(r, Noon)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	open := load(t, s, ada).Open()
	require.Len(t, open, n)
	for i, op := range open {
		require.EqualValues(t, i+1, op.Number)
	}
	require.Len(t, chain(t, s, ada), n)
	require.Equal(t, ports.Verified{Chains: 1, Entries: n}, verified(t, s, ""))
}

func customersIndependent(t *testing.T, s Store) {
	require.NoError(t, s.Update(t.Context(), ada, "", func(a *preference.Account) error {
		Accept(t, s, grace, Subscribe(grace)) // while ada's account is locked
		_, _, err := a.Accept(Subscribe(ada), Noon)
		return err
	}))
	require.Len(t, load(t, s, ada).Open(), 1)
	require.Len(t, load(t, s, grace).Open(), 1)
}

func unknownOperation(t *testing.T, s Store) {
	err := s.UpdateOperation(t.Context(), "nobody-has-heard-of-it", func(*preference.Account, *preference.Operation) error {
		t.Error("must not be called")
		return nil
	})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func settledHandedOver(t *testing.T, s Store) {
	first, second := Subscribe(ada), Unsubscribe(ada)
	Apply(t, s, ada, first)
	Accept(t, s, ada, second)
	require.NoError(t, s.UpdateOperation(t.Context(), first.ID, func(a *preference.Account, op *preference.Operation) error {
		require.Equal(t, first.ID, op.ID)
		require.Equal(t, preference.Applied, op.Status)
		require.Len(t, a.Open(), 1)
		return a.Commit(op, Noon.AddDate(1, 0, 0)) // a repeat, which changes nothing
	}))
	require.Len(t, chain(t, s, ada), 3)
}

func cancelledStoresNothing(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, ada, "", func(a *preference.Account) error {
		_, _, err := a.Accept(Subscribe(ada), Noon)
		cancel()
		return err
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, load(t, s, ada).Open())
	require.Empty(t, chain(t, s, ada))
}

func manyAtOnce(t *testing.T, s Store) {
	const n = 150
	Accept(t, s, ada, Unsubscribe(ada))
	require.NoError(t, s.Update(t.Context(), ada, "", func(a *preference.Account) error {
		for range n {
			if _, _, err := a.Accept(Subscribe(ada), Noon); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Len(t, load(t, s, ada).Open(), n+1)
	require.NoError(t, s.Update(t.Context(), ada, "", func(a *preference.Account) error { return a.Expire(Noon.AddDate(0, 0, 1)) }))
	require.Len(t, load(t, s, ada).Open(), 1)
	require.Equal(t, ports.Verified{Chains: 1, Entries: 1 + 2*n}, verified(t, s, string(ada)))
}

func parkedAndDecided(t *testing.T, s Store) {
	r := Unsubscribe(ada)
	Accept(t, s, ada, r)
	Begin(t, s, r.ID)
	Park(t, s, r.ID)
	op := operation(t, s, r.ID)
	require.Equal(t, preference.NeedsAttention, op.Status)
	require.Equal(t, &consent.Reason{Code: "refused", Target: "crm"}, op.Reason)
	decide := func(d preference.Decision) {
		require.NoError(t, s.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
			return a.Decide(op, d, consent.Actor{Type: "operator", ID: "desk-1"}, Noon)
		}))
	}
	decide(preference.RetryIt)
	require.Equal(t, preference.RetryIt, operation(t, s, r.ID).Decision)
	require.NoError(t, s.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
		require.Equal(t, preference.RetryIt, a.TakeDecision(op))
		return nil
	}))
	op = operation(t, s, r.ID)
	require.Equal(t, preference.Running, op.Status)
	require.Empty(t, op.Decision)
	require.Nil(t, op.Reason)
	Park(t, s, r.ID)
	decide(preference.CompensateIt)
	Compensate(t, s, r.ID)
	op = operation(t, s, r.ID)
	require.Equal(t, preference.Compensated, op.Status)
	require.Equal(t, "refused", op.Reason.Code)
}

func devicesSurvive(t *testing.T, s Store) {
	Apply(t, s, ada, Register(ada, "phone", "token-1"), Register(ada, "tablet", "token-2"))
	off := false
	change, err := preference.SwitchDevice("phone", &off, map[preference.ChannelKey]bool{"news": false})
	require.NoError(t, err)
	Apply(t, s, ada, request(ada, change))
	prefs := load(t, s, ada).Preferences()
	require.Len(t, prefs.Devices(), 2)
	phone, _ := prefs.Device("phone")
	require.Equal(t, preference.Device{ID: "phone", Platform: preference.IOS, Token: "token-1", Permission: preference.Granted,
		AppVersion: "1.2.3", Locale: "en", Enabled: false, Channels: map[preference.ChannelKey]bool{"news": false},
		TokenAt: Noon, RegisteredAt: Noon, SwitchedAt: Noon, UpdatedAt: Noon}, phone)
}

func updateBySettled(t *testing.T, s Store) {
	first, second := Unsubscribe(ada), Unsubscribe(ada)
	Apply(t, s, ada, first)
	Accept(t, s, ada, second)
	// Through an operation that is settled, the account's others can be worked on.
	require.NoError(t, s.UpdateOperation(t.Context(), first.ID, func(a *preference.Account, _ *preference.Operation) error {
		_, run := a.Turn()
		return a.Begin(a.Next(run), run, Noon)
	}))
	require.Equal(t, preference.Running, operation(t, s, second.ID).Status)
	require.Equal(t, preference.Applied, operation(t, s, first.ID).Status)
}
