package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// fakeApp is the application in memory, over the real domain: it decides what the domain decides and settles each change
// at once, unless told otherwise.
type fakeApp struct {
	mu        sync.Mutex
	catalogue *preference.Catalogue
	now       time.Time
	accounts  map[preference.CustomerID]preference.Standing
	ops       map[string]*preference.Operation
	links     map[preference.CustomerID][]consent.Link
	commands  []ports.ChangeCommand

	stuck  bool            // changes stay running
	parked bool            // withdrawals end up parked
	refuse *consent.Reason // changes are compensated for this
	err    error           // every call fails with it
	panics bool

	unchanged bool // changes say what holds already
}

func newFakeApp() *fakeApp {
	catalogue, err := preference.NewCatalogue("email-marketing",
		preference.Channel{Key: "promotions", Purpose: "push-marketing"}, preference.Channel{Key: "order_updates", Required: true},
		preference.Channel{Key: "loyalty"}, preference.Channel{Key: "news"})
	if err != nil {
		panic(err)
	}
	return &fakeApp{catalogue: catalogue, now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), accounts: map[preference.CustomerID]preference.Standing{},
		ops: map[string]*preference.Operation{}, links: map[preference.CustomerID][]consent.Link{}}
}

func (f *fakeApp) begin() (func(), error) {
	f.mu.Lock()
	if f.panics {
		f.mu.Unlock()
		panic("the fake was told to")
	}
	return f.mu.Unlock, f.err
}

func (f *fakeApp) standing(customer preference.CustomerID, key string) preference.Standing {
	st, known := f.accounts[customer]
	if !known {
		st = preference.Standing{Preferences: preference.Defaults(customer, f.catalogue), Chain: consent.Chain{ID: "ch_" + string(customer), Key: aKey}}
	}
	st.Prior = nil
	for _, op := range f.ops {
		if key != "" && op.Customer == customer && op.Key == key {
			st.Prior = op
		}
	}
	return st
}

func (f *fakeApp) store(customer preference.CustomerID, a *preference.Account) {
	ops, links := a.Pending()
	for _, op := range ops {
		f.ops[op.ID] = op
	}
	f.links[customer] = append(f.links[customer], links...)
	f.accounts[customer] = a.Standing()
}

func (f *fakeApp) View(_ context.Context, customer preference.CustomerID) (ports.PreferenceView, error) {
	done, err := f.begin()
	defer done()
	a := preference.RestoreAccount(f.standing(customer, ""))
	return ports.PreferenceView{Preferences: a.Preferences(), Holds: a.Holds(), At: f.now,
		Tag: preference.TagAt(a.Tag(), a.Preferences(), a.Holds(), f.now)}, err
}

func (f *fakeApp) Change(_ context.Context, c ports.ChangeCommand) (ports.ChangeResult, error) {
	done, err := f.begin()
	defer done()
	if err != nil {
		return ports.ChangeResult{}, err
	}
	f.commands = append(f.commands, c)
	if f.unchanged {
		a := preference.RestoreAccount(f.standing(c.Customer, ""))
		return ports.ChangeResult{Unchanged: true, View: ports.PreferenceView{Preferences: a.Preferences(), At: f.now, Tag: a.Tag()}}, nil
	}
	a := preference.RestoreAccount(f.standing(c.Customer, c.Key))
	op, replayed, err := a.Accept(preference.Request{ID: "op-" + strconv.Itoa(len(f.ops)+1), Change: c.Change, Source: c.Source, Actor: c.Actor,
		Origin: c.Origin, Key: c.Key, Fingerprint: c.Fingerprint, IfMatch: c.IfMatch, Budget: 2 * time.Minute}, f.now)
	if err != nil {
		return ports.ChangeResult{}, err
	}
	if !replayed && c.Wait > 0 {
		if err := f.work(a, op); err != nil {
			return ports.ChangeResult{}, err
		}
	}
	f.store(c.Customer, a)
	after := preference.Restore(c.Customer, op.After, f.catalogue)
	return ports.ChangeResult{Operation: *op, Replayed: replayed,
		View: ports.PreferenceView{Preferences: after, At: f.now, Tag: preference.TagAt(preference.Tag(after.Version(), 0), after, nil, f.now)}}, nil
}

func (f *fakeApp) work(a *preference.Account, op *preference.Operation) error {
	if turn, _ := a.Turn(); turn != op.Number {
		return nil // it waits behind another one
	}
	if err := a.Begin(op, op.Number, f.now); err != nil || f.stuck {
		return err
	}
	switch {
	case f.parked:
		return a.Park(op, consent.Reason{Code: "rejected", Target: "crm", Detail: "the CRM refuses this person"}, f.now)
	case f.refuse != nil:
		if err := a.StartCompensation(op, *f.refuse, f.now); err != nil {
			return err
		}
		return a.Compensate(op, nil, f.now)
	}
	return a.Commit(op, f.now)
}

func (f *fakeApp) Audit(_ context.Context, customer preference.CustomerID, below int64, limit int) ([]consent.Line, error) {
	done, err := f.begin()
	defer done()
	var out []consent.Line
	for _, l := range slices.Backward(f.links[customer]) {
		if (below == 0 || l.Seq < below) && len(out) < limit {
			e, err := l.Read(aKey)
			if err != nil {
				return nil, err
			}
			out = append(out, consent.Line{Link: l, Entry: e})
		}
	}
	return out, err
}

// aKey is that of every chain.
var aKey = consent.Key{1}

func (f *fakeApp) Operation(ctx context.Context, customer preference.CustomerID, id string) (ports.OperationState, error) {
	state, err := f.Find(ctx, id)
	if err == nil && state.Customer != customer {
		return ports.OperationState{}, errNoOperation
	}
	return state, err
}

var errNoOperation = fault.New(fault.NotFound, "not-found", "no such operation")

func (f *fakeApp) Find(_ context.Context, id string) (ports.OperationState, error) {
	done, err := f.begin()
	defer done()
	op, known := f.ops[id]
	if err != nil || !known {
		return ports.OperationState{}, cmpErr(err, errNoOperation)
	}
	return f.state(op), nil
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func (f *fakeApp) state(op *preference.Operation) ports.OperationState {
	out := ports.OperationState{Operation: *op, Progress: map[preference.Target]ports.TargetProgress{}}
	if op.Status != preference.Accepted {
		out.Progress[preference.CRM] = ports.TargetProgress{State: ports.TargetApplying, Attempts: 1, Code: "http_503", At: f.now}
	}
	return out
}

func (f *fakeApp) Deliverability(_ context.Context, customer preference.CustomerID, channel preference.ChannelKey) (ports.DeliverabilityView, error) {
	done, err := f.begin()
	defer done()
	a := preference.RestoreAccount(f.standing(customer, ""))
	out := ports.DeliverabilityView{Email: a.Preferences().EmailBlockers("", a.Holds())}
	for _, ch := range f.catalogue.Channels() {
		if channel == "" || channel == ch.Key {
			out.Channels = append(out.Channels, a.Preferences().Deliverability(ch, a.Holds(), f.now))
		}
	}
	return out, err
}

func (f *fakeApp) ByStatus(_ context.Context, statuses []preference.Status, cursor string, limit int) ([]ports.OperationState, string, error) {
	done, err := f.begin()
	defer done()
	if err != nil {
		return nil, "", err
	}
	from := 1
	if cursor != "" {
		if _, err := fmt.Sscanf(cursor, "after-%d", &from); err != nil {
			return nil, "", fault.OnField("cursor", "bad_cursor", "is not a next_cursor of this list")
		}
	}
	var out []ports.OperationState
	for i := from; i <= len(f.ops); i++ {
		op := f.ops["op-"+strconv.Itoa(i)]
		if !slices.Contains(statuses, op.Status) {
			continue
		}
		if len(out) == limit {
			return out, fmt.Sprintf("after-%d", i), nil
		}
		out = append(out, f.state(op))
	}
	return out, "", nil
}

func (f *fakeApp) Decide(_ context.Context, id string, d preference.Decision, by consent.Actor) (ports.OperationState, error) {
	done, err := f.begin()
	defer done()
	op, known := f.ops[id]
	if err != nil || !known {
		return ports.OperationState{}, cmpErr(err, errNoOperation)
	}
	a := preference.RestoreAccount(f.standing(op.Customer, ""))
	if i := slices.IndexFunc(a.Open(), func(o *preference.Operation) bool { return o.ID == id }); i >= 0 {
		op = a.Open()[i]
	}
	if err := a.Decide(op, d, by, f.now); err != nil {
		return ports.OperationState{}, err
	}
	f.store(op.Customer, a)
	return f.state(op), nil
}

func (f *fakeApp) RunLink(op ports.OperationState) string {
	return "http://127.0.0.1:8233/namespaces/default/workflows/" + op.ID
}

// fakeVerifier trusts exactly the tokens it lists.
type fakeVerifier struct{ tokens map[string]ports.Principal }

func newFakeVerifier() fakeVerifier {
	return fakeVerifier{tokens: map[string]ports.Principal{
		"ada":     {Subject: "ada", ClientID: "app"},
		"grace":   {Subject: "grace", ClientID: "app"},
		"machine": {Subject: "campaigns", ClientID: "campaigns"},
		"broken":  {Subject: "white space", ClientID: "app"},
		"reader":  {Subject: "campaigns", ClientID: "campaigns", Scopes: []string{"preferences:read"}},
		"auditor": {Subject: "support", ClientID: "desk", Scopes: []string{"audit:read"}},
		"looker":  {Subject: "support", ClientID: "desk", Scopes: []string{"operations:read"}},
		"editor":  {Subject: "campaigns", ClientID: "campaigns", Scopes: []string{"messages:write"}},
		"proof":   {Subject: "campaigns", ClientID: "campaigns", Scopes: []string{"messages:read"}},
		"hooks":   {Subject: "integrations", ClientID: "integrations", Scopes: []string{"webhooks:write"}},
		"mailer":  {Subject: "mailer", ClientID: "mailer", Scopes: []string{"preferences:write"}},
		"privacy": {Subject: "privacy-desk", ClientID: "desk", Scopes: []string{"customers:erase"}},
		"analyst": {Subject: "reports", ClientID: "reports", Scopes: []string{"metrics:read"}},
		"ops":     {Subject: "night-shift", ClientID: "desk", Scopes: []string{"operations:write"}},
	}}
}

func (v fakeVerifier) Verify(_ context.Context, token string) (ports.Principal, error) {
	if token == "later" {
		return ports.Principal{}, fault.New(fault.Unavailable, "unavailable", "tokens cannot be checked now")
	}
	p, known := v.tokens[token]
	if !known {
		return ports.Principal{}, fault.New(fault.Denied, "invalid-token", "the token is not to be trusted: it has expired")
	}
	return p, nil
}
