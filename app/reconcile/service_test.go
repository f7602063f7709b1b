package reconcile_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/app/reconcile"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a database and three targets in memory. Changes are carried out at once.
type world struct {
	mu        sync.Mutex
	accounts  map[preference.CustomerID]preference.Standing
	held      map[preference.Target]map[preference.CustomerID]preference.Holding
	down      map[preference.Target]bool
	onRead    func(preference.Target, preference.CustomerID) // while the target is asked
	due       []ports.DueCheck
	round     []preference.CustomerID
	advanced  []preference.CustomerID
	done      []preference.CustomerID
	postponed map[preference.CustomerID]time.Duration
	commands  []ports.ChangeCommand
	found     map[string]int
	repaired  map[string]int
	checked   int
	catalogue *preference.Catalogue
}

func newWorld(t *testing.T, customers ...preference.CustomerID) *world {
	t.Helper()
	cat, err := preference.NewCatalogue("email-marketing", preference.Channel{Key: "promotions", Purpose: "push-marketing"}, preference.Channel{Key: "news"})
	require.NoError(t, err)
	w := &world{accounts: map[preference.CustomerID]preference.Standing{}, held: map[preference.Target]map[preference.CustomerID]preference.Holding{},
		down: map[preference.Target]bool{}, postponed: map[preference.CustomerID]time.Duration{}, found: map[string]int{}, repaired: map[string]int{}, catalogue: cat}
	for _, target := range preference.Targets {
		w.held[target] = map[preference.CustomerID]preference.Holding{}
	}
	for _, c := range customers {
		p := preference.Defaults(c, cat)
		for _, change := range changes(t, c) {
			p, err = p.Apply(change, noon, preference.FromApp)
			require.NoError(t, err)
		}
		w.accounts[c] = preference.Standing{Preferences: p, LastNumber: 1, Chain: consent.Chain{ID: "ch_" + string(c), Key: consent.Key{1}}}
		for _, target := range preference.Targets {
			w.held[target][c] = p.Desired(target)
		}
		w.due = append(w.due, ports.DueCheck{Customer: c, At: noon})
	}
	return w
}

func changes(t *testing.T, c preference.CustomerID) []preference.Change {
	phone, err := preference.RegisterDevice(preference.Registration{Device: "phone", Platform: preference.IOS, Token: "token-" + string(c), Permission: preference.Granted})
	require.NoError(t, err)
	on, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"promotions": true}, nil)
	require.NoError(t, err)
	mail, err := preference.SetEmail(preference.Subscribed, nil)
	require.NoError(t, err)
	return []preference.Change{phone, on, mail}
}

func (w *world) service() *reconcile.Service {
	systems := map[preference.Target]ports.TargetSystem{}
	for _, t := range preference.Targets {
		systems[t] = target{w, t}
	}
	return reconcile.New(reconcile.Config{Store: w, Accounts: accounts{w}, Preferences: asking{w: w}, Targets: systems, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Window: time.Hour, Rate: 1e9, Observe: w})
}

func (w *world) run(t *testing.T) ports.ReconciliationReport {
	t.Helper()
	report, err := w.service().Reconcile(t.Context(), time.Minute, func(ports.ReconciliationReport) {})
	require.NoError(t, err)
	return report
}

func (w *world) Checked() { w.locked(func() { w.checked++ }) }
func (w *world) Found(t preference.Target, d preference.Drift) {
	w.locked(func() { w.found[string(t)+"/"+string(d.Item.Kind)]++ })
}
func (w *world) Repaired(t preference.Target, d preference.Drift) {
	w.locked(func() { w.repaired[string(t)+"/"+string(d.Item.Kind)]++ })
}

func (w *world) locked(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *world) CollectDue(context.Context, ...time.Duration) error { return nil }
func (w *world) AskFor(_ context.Context, customers []preference.CustomerID) error {
	for _, c := range customers {
		w.due = append(w.due, ports.DueCheck{Customer: c, At: noon})
	}
	return nil
}
func (w *world) DueChecks(_ context.Context, limit int) ([]ports.DueCheck, error) {
	return w.due[:min(limit, len(w.due))], nil
}
func (w *world) EndChecks(_ context.Context, done, postponed []ports.DueCheck, pause time.Duration) error {
	for _, d := range done {
		w.done = append(w.done, d.Customer)
	}
	for _, d := range postponed {
		w.postponed[d.Customer] = pause
	}
	w.due = w.due[len(done)+len(postponed):]
	return nil
}
func (w *world) NextInRound(_ context.Context, _ time.Duration, limit int) ([]preference.CustomerID, bool, error) {
	n := min(limit, len(w.round))
	return w.round[:n], n < limit && len(w.advanced) == 0 || n > 0 && n < limit, nil
}
func (w *world) AdvanceRound(_ context.Context, upTo preference.CustomerID, ended bool) error {
	w.advanced = append(w.advanced, upTo)
	w.round = w.round[min(20, len(w.round)):]
	return nil
}
func (w *world) RoundAge(context.Context) (time.Duration, error) { return 0, nil }

type accounts struct{ w *world }

func (a accounts) Load(_ context.Context, c preference.CustomerID) (*preference.Account, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	return preference.RestoreAccount(a.w.accounts[c]), nil
}
func (accounts) Update(context.Context, preference.CustomerID, string, func(*preference.Account) error) error {
	panic("only read")
}
func (accounts) UpdateOperation(context.Context, string, func(*preference.Account, *preference.Operation) error) error {
	panic("only read")
}
func (accounts) UpdateStill(context.Context, string, func(*preference.Account, *preference.Operation, bool) error) error {
	panic("only read")
}

// asking accepts a change and carries it out.
type asking struct {
	ports.Preferences
	w *world
}

func (a asking) Change(_ context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	acc := preference.RestoreAccount(w.accounts[c.Customer])
	op, _, err := acc.Accept(preference.Request{ID: "op", Change: c.Change, Source: c.Source, IfMatch: c.IfMatch, Budget: time.Minute, Only: c.Only,
		Elsewhere: c.Elsewhere, DecidedAt: c.DecidedAt, Cause: c.Cause}, noon.Add(time.Hour))
	if err != nil {
		return ports.ChangeResult{}, err
	}
	w.commands = append(w.commands, c)
	w.accounts[c.Customer] = acc.Standing()
	return ports.ChangeResult{Operation: *op}, nil
}

// settle carries out everything that was accepted.
func (w *world) settle(t *testing.T) {
	t.Helper()
	for c, st := range w.accounts {
		acc := preference.RestoreAccount(st)
		for _, op := range acc.Open() {
			require.NoError(t, acc.Begin(op, st.Run, noon))
			before := preference.Restore(c, op.Before, w.catalogue)
			after := preference.Restore(c, op.After, w.catalogue)
			for _, to := range op.Targets {
				for i, s := range preference.Assign(to, op.Change, before, after, w.held[to][c]).Write {
					if w.held[to][c][i] = s; s == preference.Unknown {
						delete(w.held[to][c], i)
					}
				}
			}
			require.NoError(t, acc.Commit(op, noon))
		}
		w.accounts[c] = acc.Standing()
	}
}

type target struct {
	w    *world
	name preference.Target
}

func (t target) Name() preference.Target { return t.name }
func (t target) Read(_ context.Context, c preference.CustomerID) (preference.Holding, error) {
	if t.w.onRead != nil {
		t.w.onRead(t.name, c)
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.w.down[t.name] {
		return nil, &ports.TargetError{Target: t.name, Class: ports.Transient, Code: "server_error"}
	}
	out := preference.Holding{}
	for i, s := range t.w.held[t.name][c] {
		out[i] = s
	}
	return out, nil
}
func (target) Write(context.Context, ports.TargetWrite) error      { panic("through the saga alone") }
func (target) Forget(context.Context, preference.CustomerID) error { panic("not asked for") }

var (
	email      = preference.Item{Kind: preference.EmailItem}
	promotions = preference.Item{Kind: preference.ChannelItem, Key: "promotions"}
	news       = preference.Item{Kind: preference.ChannelItem, Key: "news"}
	consented  = preference.Item{Kind: preference.PurposeItem, Key: "push-marketing"}
)

func TestWhereNothingHasDriftedNothingIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "grace")
	report := w.run(t)
	require.Equal(t, ports.ReconciliationReport{Checked: 2, RoundsDone: 1}, report)
	require.Empty(t, w.commands)
	require.ElementsMatch(t, []preference.CustomerID{"ada", "grace"}, w.done)
	require.Equal(t, 2, w.checked)
}

// Drift of every kind at once; afterwards everybody agrees, and a second run finds nothing.
func TestEveryDriftEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "grace", "linus", "margaret")
	w.held[preference.CRM]["ada"][news] = preference.On                                                              // sends where we may not
	w.held[preference.CRM]["grace"][email] = preference.Off                                                          // unsubscribed there
	w.held[preference.CMP]["linus"][consented] = preference.Off                                                      // withdrawn there
	delete(w.held[preference.Push]["margaret"], preference.Item{Kind: preference.DeviceItem, Key: "token-margaret"}) // lost there
	w.held[preference.Push]["margaret"][preference.Item{Kind: preference.DeviceItem, Key: "stray"}] = preference.On
	report := w.run(t)
	require.Equal(t, 5, report.Drifts)
	require.Equal(t, 5, report.Operations)
	require.Equal(t, map[string]int{"crm/channel": 1, "crm/email": 1, "cmp/purpose": 1, "push/device": 2}, w.found)
	require.Equal(t, w.found, w.repaired)
	for _, c := range w.commands {
		require.Equal(t, preference.System, c.Actor)
		require.NotEmpty(t, c.Cause)
		switch c.Customer {
		case "grace", "linus":
			require.True(t, c.Elsewhere, "a withdrawal of the customer's, which came from there")
			require.NotEqual(t, preference.FromReconciler, c.Source)
		default:
			require.Equal(t, preference.FromReconciler, c.Source)
			require.Len(t, c.Only, 1)
		}
	}
	w.settle(t)
	require.Equal(t, preference.Unsubscribed, w.accounts["grace"].Preferences.Email().Status)
	require.False(t, w.accounts["linus"].Preferences.Channel("promotions").Enabled)
	for _, c := range []preference.CustomerID{"ada", "grace", "linus", "margaret"} {
		w.due = append(w.due, ports.DueCheck{Customer: c, At: noon})
	}
	require.Zero(t, w.run(t).Drifts, "everybody agrees")
}

func TestACustomerWhoseChangeIsUnderWayIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada")
	w.held[preference.CRM]["ada"][email] = preference.Off
	acc := preference.RestoreAccount(w.accounts["ada"])
	c, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"news": true}, nil)
	require.NoError(t, err)
	_, _, err = acc.Accept(preference.Request{ID: "mine", Change: c, Source: preference.FromApp, Budget: time.Minute}, noon)
	require.NoError(t, err)
	w.accounts["ada"] = acc.Standing()
	require.Equal(t, 1, w.run(t).Postponed)
	require.Empty(t, w.commands)
	require.Equal(t, 30*time.Second, w.postponed["ada"])
}

// Whenever the customer decides while we look, the customer's decision stands: nothing that we have seen before counts.
func TestACustomersOwnDecisionMeanwhileAlwaysStands(t *testing.T) {
	t.Parallel()
	for reading := range 6 { // of which target, the first or the second time
		w := newWorld(t, "ada")
		w.held[preference.CRM]["ada"][promotions] = preference.Off
		w.held[preference.CMP]["ada"][consented] = preference.Off
		reads := 0
		w.onRead = func(preference.Target, preference.CustomerID) {
			if reads++; reads != reading+1 {
				return
			}
			again, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"promotions": true}, nil)
			require.NoError(t, err)
			w.locked(func() {
				acc := preference.RestoreAccount(w.accounts["ada"])
				_, _, err = acc.Accept(preference.Request{ID: "mine", Change: again, Source: preference.FromApp, Budget: time.Minute}, noon.Add(time.Minute))
				w.accounts["ada"] = acc.Standing()
			})
			require.NoError(t, err)
		}
		w.run(t)
		w.settle(t)
		require.True(t, w.accounts["ada"].Preferences.Channel("promotions").Enabled, "decided at reading %d", reading)
	}
}

func TestATargetThatIsDownKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada")
	w.down[preference.CMP] = true
	w.held[preference.CRM]["ada"][news] = preference.On
	report := w.run(t)
	require.Equal(t, 1, report.Operations, "what could be read is put right")
	require.Equal(t, 1, report.Postponed)
	require.Equal(t, 5*time.Minute, w.postponed["ada"])
	require.Zero(t, w.checked)
}

func TestADriftThatPassesIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada")
	w.held[preference.CRM]["ada"][email] = preference.Neutral // on its way
	reads := 0
	w.onRead = func(t preference.Target, _ preference.CustomerID) {
		if t == preference.CRM {
			if reads++; reads == 2 {
				w.locked(func() { w.held[preference.CRM]["ada"][email] = preference.On })
			}
		}
	}
	require.Zero(t, w.run(t).Drifts)
	require.Empty(t, w.commands)
}

func TestTheRoundGoesOverEverybodyAndPutsOffWhoCannotBeJudged(t *testing.T) {
	t.Parallel()
	customers := []preference.CustomerID{}
	for i := range 45 {
		customers = append(customers, preference.CustomerID(rune('a'+i%26))+preference.CustomerID(rune('a'+i/26)))
	}
	w := newWorld(t, customers...)
	w.due, w.round = nil, customers
	w.held[preference.CRM][customers[30]][news] = preference.On
	report := w.run(t)
	require.Equal(t, 45, report.Checked)
	require.Equal(t, 1, report.Operations)
	require.Equal(t, 1, report.RoundsDone)
	require.Len(t, w.advanced, 3)
}

func TestTheDatabaseIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken := reconcile.New(reconcile.Config{Store: brokenStore{w}, Now: time.Now, Rate: 1, Logger: slog.New(slog.DiscardHandler)})
	_, err := broken.Reconcile(t.Context(), time.Minute, func(ports.ReconciliationReport) {})
	require.ErrorIs(t, err, fault.New(fault.Unavailable, "unavailable", ""))
}

type brokenStore struct{ *world }

func (brokenStore) CollectDue(context.Context, ...time.Duration) error {
	return fault.New(fault.Unavailable, "unavailable", "down")
}
