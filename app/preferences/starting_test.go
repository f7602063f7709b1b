package preferences_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"accord/app/preferences"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/mocks"
)

const ada preference.CustomerID = "ada"

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// memory keeps one customer's account between transactions. It is a fake of ports.Accounts without a ledger.
type memory struct {
	mu       sync.Mutex
	standing preference.Standing
	ops      map[string]*preference.Operation
	reached  map[string]bool // operations of which a step has started
}

func (m *memory) load(key string) *preference.Account {
	s := m.standing
	s.Open = nil
	for _, op := range m.standing.Open {
		s.Open = append(s.Open, m.copy(op.ID))
	}
	for id, op := range m.ops {
		if key != "" && op.Key == key {
			s.Prior = m.copy(id)
		}
	}
	return preference.RestoreAccount(s)
}

func (m *memory) copy(id string) *preference.Operation {
	op := *m.ops[id]
	return &op
}

func (m *memory) Load(context.Context, preference.CustomerID) (*preference.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.load(""), nil
}

func (m *memory) Update(_ context.Context, _ preference.CustomerID, key string, fn func(*preference.Account) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.update(m.load(key), fn)
}

func (m *memory) UpdateOperation(_ context.Context, id string, fn func(*preference.Account, *preference.Operation) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.load("")
	op := m.copy(id)
	for _, open := range a.Open() {
		if open.ID == id {
			op = open
		}
	}
	return m.update(a, func(a *preference.Account) error { return fn(a, op) })
}

func (m *memory) UpdateStill(ctx context.Context, id string, fn func(*preference.Account, *preference.Operation, bool) error) error {
	return m.UpdateOperation(ctx, id, func(a *preference.Account, op *preference.Operation) error { return fn(a, op, m.reached[id]) })
}

func (m *memory) update(a *preference.Account, fn func(*preference.Account) error) error {
	if err := fn(a); err != nil {
		return err
	}
	changed, _ := a.Pending()
	for _, op := range changed {
		kept := *op
		m.ops[op.ID] = &kept
	}
	m.standing = a.Standing()
	m.standing.Prior = nil
	return nil
}

func (m *memory) status(id string) preference.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops[id].Status
}

// rig is the service over that memory, and a run executor that is counted.
func rig(t *testing.T) (*preferences.Service, *memory, *mocks.MockRuns) {
	t.Helper()
	service, store, runs, outcomes := rigged(t)
	outcomes.EXPECT().Watch(gomock.Any()).Return(make(chan preference.Operation), func() {}).AnyTimes()
	return service, store, runs
}

func rigged(t *testing.T) (*preferences.Service, *memory, *mocks.MockRuns, *mocks.MockOutcomes) {
	t.Helper()
	catalogue, err := preference.NewCatalogue("email-marketing", preference.Channel{Key: "news"})
	require.NoError(t, err)
	ctrl := gomock.NewController(t)
	store := &memory{standing: preference.Standing{Preferences: preference.Defaults(ada, catalogue), Chain: consent.Chain{ID: "ch_ada", Key: consent.Key{1}}}, ops: map[string]*preference.Operation{},
		reached: map[string]bool{}}
	outcomes, runs := mocks.NewMockOutcomes(ctrl), mocks.NewMockRuns(ctrl)
	ids := 0
	service := preferences.New(preferences.Config{Accounts: store, Operations: mocks.NewMockOperations(ctrl), Devices: mocks.NewMockDevices(ctrl), Ledger: mocks.NewMockLedger(ctrl),
		Outcomes: outcomes, Runs: runs, Catalogue: catalogue, GrantBudget: time.Minute, Now: func() time.Time { return now },
		NewID: func() string { ids++; return fmt.Sprint("op-", ids) }, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(service.Close)
	return service, store, runs, outcomes
}

func email(t *testing.T, status preference.EmailStatus, key string) ports.ChangeCommand {
	t.Helper()
	change, err := preference.SetEmail(status, nil)
	require.NoError(t, err)
	return ports.ChangeCommand{Customer: ada, Change: change, Source: preference.FromApp, Actor: consent.Actor{Type: "customer", ID: "ada"}, Key: key, Fingerprint: "f"}
}

func down() error { return fault.New(fault.Unavailable, "unavailable", "Temporal can't be reached") }

func TestAGrantThatCanNotBeStartedIsRefusedAtOnceAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	service, store, runs := rig(t)
	run := ports.Run{Customer: ada, Number: 1, Operation: "op-1", Kind: preference.Grant, Source: preference.FromApp,
		Targets: []preference.Target{preference.CRM, preference.CMP}, Summary: "e-mail marketing subscribed",
		Deadline: now.Add(time.Minute), Ahead: true}
	runs.EXPECT().Start(gomock.Any(), run).Return(down()).Times(1)
	_, err := service.Change(t.Context(), email(t, preference.Subscribed, "k"))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Equal(t, preference.Compensated, store.status("op-1"))

	run.Number, run.Operation = 2, "op-2"
	runs.EXPECT().Start(gomock.Any(), run).Return(nil).Times(1)
	again, err := service.Change(t.Context(), email(t, preference.Subscribed, "k"))
	require.NoError(t, err)
	require.False(t, again.Replayed, "nothing was done under the key before")
	require.Equal(t, preference.Accepted, again.Operation.Status)

	same, err := service.Change(t.Context(), email(t, preference.Subscribed, "k"))
	require.NoError(t, err, "and a repeat of what was accepted starts nothing")
	require.True(t, same.Replayed)
	require.Equal(t, "op-2", same.Operation.ID)
}

// The answer to a start was lost, and the run is at it: what it has written must not be forgotten.
func TestAGrantWhoseRunWasStartedAfterAllGoesOn(t *testing.T) {
	t.Parallel()
	service, store, runs := rig(t)
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).DoAndReturn(func(_ context.Context, r ports.Run) error {
		store.mu.Lock()
		defer store.mu.Unlock()
		store.reached[r.Operation] = true
		return down()
	}).Times(1)
	result, err := service.Change(t.Context(), email(t, preference.Subscribed, "k"))
	require.NoError(t, err)
	require.Equal(t, preference.Accepted, result.Operation.Status, "as far as is known")
	require.Equal(t, preference.Running, store.status("op-1"))
	again, err := service.Change(t.Context(), email(t, preference.Subscribed, "k"))
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, "op-1", again.Operation.ID)
}

func TestWhoWaitsIsHandedTheOutcome(t *testing.T) {
	t.Parallel()
	service, store, runs, outcomes := rigged(t)
	settled := make(chan preference.Operation, 1)
	outcomes.EXPECT().Watch("op-1").Return(settled, func() {})
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).DoAndReturn(func(ctx context.Context, r ports.Run) error {
		return store.UpdateOperation(ctx, r.Operation, func(a *preference.Account, op *preference.Operation) error {
			err := a.Commit(op, now)
			settled <- *op
			return err
		})
	})
	command := email(t, preference.Subscribed, "")
	command.Wait = time.Minute
	result, err := service.Change(t.Context(), command) // it would fail on a look: no operation is expected to be read
	require.NoError(t, err)
	require.Equal(t, preference.Applied, result.Operation.Status)
	require.Equal(t, preference.Subscribed, result.View.Preferences.Email().Status)
}

func TestAWithdrawalIsAcceptedThoughItCanNotBeStarted(t *testing.T) {
	t.Parallel()
	service, store, runs := rig(t)
	tried := make(chan struct{})
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).DoAndReturn(func(context.Context, ports.Run) error {
		close(tried)
		return down()
	}).Times(1)
	result, err := service.Change(t.Context(), email(t, preference.Unsubscribed, ""))
	require.NoError(t, err)
	require.Equal(t, preference.Accepted, result.Operation.Status)
	<-tried
	service.Close()
	require.Equal(t, preference.Running, store.status("op-1"), "begun ahead, and the sweeper's from now on")
	view, err := service.View(t.Context(), ada)
	require.NoError(t, err)
	require.Len(t, view.Holds, 1, "and nothing is sent meanwhile")
}

func TestAChangeBehindAnotherStartsNothing(t *testing.T) {
	t.Parallel()
	service, _, runs := rig(t)
	runs.EXPECT().Start(gomock.Any(), gomock.Any()).Return(nil).Times(1)
	for _, status := range []preference.EmailStatus{preference.Subscribed, preference.Unsubscribed, preference.Subscribed} {
		_, err := service.Change(t.Context(), email(t, status, ""))
		require.NoError(t, err)
	}
}
