// Package reconcile compares what the targets hold with what we hold, and ends every drift through the saga.
package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// Config is what the use case needs. All of it is mandatory but Observe.
type Config struct {
	Store       ports.ReconciliationStore
	Accounts    ports.Accounts
	Preferences ports.Preferences
	Targets     map[preference.Target]ports.TargetSystem
	Now         func() time.Time
	Logger      *slog.Logger
	Window      time.Duration // everybody is looked at once in it
	Rate        float64       // customers looked at per second, at most
	// SecondLook is how long after the first one a drift must still be there: what was accepted shows a little later.
	SecondLook time.Duration
	Observe    Observer
}

// Observer is told what is found and done.
type Observer interface {
	Checked()
	Found(t preference.Target, d preference.Drift)
	Repaired(t preference.Target, d preference.Drift) // an operation was accepted that ends it
}

// When customers whose operation has settled are looked at: a vendor's own delays are over after a minute, what a person
// does at a vendor because of it takes a little longer.
var after = []time.Duration{time.Minute, 10 * time.Minute}

// How long until a check is tried again that could not be made: while a change was under way, and while a target could not be
// read, which may take long, concern everybody, and is asked often enough by those who wait.
const (
	busyPause   = 30 * time.Second
	outagePause = 5 * time.Minute
)

// outcome of a check.
type outcome int

const (
	complete   outcome = iota // every target was read while nothing was under way
	busy                      // a change is under way, or came meanwhile
	unreadable                // by a target that could not be read
)

// batch is how many customers are looked at between two looks at the clock.
const batch = 20

// Service implements ports.ReconciliationUpkeep.
type Service struct{ Config }

var _ ports.ReconciliationUpkeep = (*Service)(nil)

// New makes the service.
func New(cfg Config) *Service { return &Service{cfg} }

// Reconcile implements ports.ReconciliationUpkeep. What if we crash? Who is due stays due until the check has ended, and the
// round goes on from the last batch; a change that was accepted already is found to be under way, or to have ended the drift.
func (s *Service) Reconcile(ctx context.Context, limit time.Duration, alive func(ports.ReconciliationReport)) (ports.ReconciliationReport, error) {
	var report ports.ReconciliationReport
	ends := s.Now().Add(limit)
	if err := s.Store.CollectDue(ctx, after...); err != nil {
		return report, err
	}
	for s.Now().Before(ends) && ctx.Err() == nil {
		alive(report)
		began := s.Now()
		more, err := s.next(ctx, &report)
		if err != nil || !more {
			return report, err
		}
		s.breathe(ctx, began)
	}
	return report, nil
}

// breathe keeps to the rate: vendors' limits are for those who wait.
func (s *Service) breathe(ctx context.Context, began time.Time) {
	rest := time.Duration(float64(batch)/s.Rate*float64(time.Second)) - s.Now().Sub(began)
	if rest <= 0 {
		return
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// next checks the next batch: who is due, and when nobody is, the next of the round. more is false when there is nobody.
func (s *Service) next(ctx context.Context, report *ports.ReconciliationReport) (more bool, err error) {
	due, err := s.Store.DueChecks(ctx, batch)
	if err != nil {
		return false, err
	}
	if len(due) > 0 {
		by := map[outcome][]ports.DueCheck{}
		for i, o := range s.checkAll(ctx, customersOf(due), report) {
			by[o] = append(by[o], due[i])
		}
		detached := context.WithoutCancel(ctx)
		if err := s.Store.EndChecks(detached, by[complete], by[busy], busyPause); err != nil {
			return false, err
		}
		return true, s.Store.EndChecks(detached, nil, by[unreadable], outagePause)
	}
	round, ended, err := s.Store.NextInRound(ctx, s.Window, batch)
	if err != nil || len(round) == 0 && !ended {
		return false, err
	}
	var postponed []preference.CustomerID
	for i, o := range s.checkAll(ctx, round, report) {
		if o != complete {
			postponed = append(postponed, round[i])
		}
	}
	if len(postponed) > 0 { // they are looked at apart, so that the round goes on
		if err := s.Store.AskFor(ctx, postponed); err != nil {
			return false, err
		}
	}
	var last preference.CustomerID
	if len(round) > 0 {
		last = round[len(round)-1]
	}
	if ended {
		report.RoundsDone++
	}
	return !ended, s.Store.AdvanceRound(ctx, last, ended)
}

func customersOf(due []ports.DueCheck) []preference.CustomerID {
	out := make([]preference.CustomerID, len(due))
	for i, d := range due {
		out[i] = d.Customer
	}
	return out
}

// checkAll checks each, a few at once.
func (s *Service) checkAll(ctx context.Context, customers []preference.CustomerID, report *ports.ReconciliationReport) []outcome {
	outcomes := make([]outcome, len(customers))
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, 4)
	for i, c := range customers {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			found, accepted, o := s.check(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			outcomes[i] = o
			report.Drifts += found
			report.Operations += accepted
			if o == complete {
				report.Checked++
			} else {
				report.Postponed++
			}
		})
	}
	wg.Wait()
	return outcomes
}

// check compares one customer at every target.
func (s *Service) check(ctx context.Context, customer preference.CustomerID) (found, accepted int, o outcome) {
	first, drifts, o := s.look(ctx, customer)
	if len(drifts) > 0 {
		second, again, o2 := s.lookAgain(ctx, customer)
		if o2 == busy || second.Tag() != first.Tag() {
			return 0, 0, busy // no drift can be judged
		}
		o = max(o, o2)
		tag := second.Tag()
		for _, t := range preference.Targets {
			lasting := preference.SeenTwice(drifts[t], again[t])
			n, ok := s.end(ctx, second.Preferences(), &tag, t, lasting)
			found, accepted = found+len(lasting), accepted+n
			if !ok {
				o = max(o, busy)
			}
		}
	}
	if o == complete && s.Observe != nil {
		s.Observe.Checked()
	}
	return found, accepted, o
}

func (s *Service) lookAgain(ctx context.Context, customer preference.CustomerID) (*preference.Account, map[preference.Target][]preference.Drift, outcome) {
	timer := time.NewTimer(s.SecondLook)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, nil, busy
	case <-timer.C:
		return s.look(ctx, customer)
	}
}

// look reads an account and every target. There is nothing to tell when a change is under way, or came meanwhile.
func (s *Service) look(ctx context.Context, customer preference.CustomerID) (*preference.Account, map[preference.Target][]preference.Drift, outcome) {
	before, err := s.Accounts.Load(ctx, customer)
	if err != nil || len(before.Open()) > 0 {
		return nil, nil, busy
	}
	drifts, o := map[preference.Target][]preference.Drift{}, complete
	for _, t := range preference.Targets {
		held, err := s.Targets[t].Read(ctx, customer)
		if err != nil {
			s.Logger.InfoContext(ctx, "a target cannot be compared now", "target", t, "error", err)
			o = unreadable
			continue
		}
		if d := before.Drift(t, held); len(d) > 0 {
			drifts[t] = d
		}
	}
	now, err := s.Accounts.Load(ctx, customer)
	if err != nil || now.Tag() != before.Tag() || len(now.Open()) > 0 {
		return nil, nil, busy
	}
	return now, drifts, o
}

// end asks for the changes that end the drifts at a target, all on the condition that the customer has changed nothing since
// we looked: whatever they say counts as later. tag goes on with what is accepted.
func (s *Service) end(ctx context.Context, p preference.Preferences, tag *string, t preference.Target, drifts []preference.Drift) (accepted int, ok bool) {
	if len(drifts) == 0 {
		return 0, true
	}
	s.observe(t, drifts, Observer.Found)
	for _, c := range commands(p, t, drifts) {
		c.IfMatch = []string{*tag}
		result, err := s.Preferences.Change(ctx, c)
		if f, is := fault.As(err); is && (f.Code == "unchanged" || f.Code == "superseded") {
			continue
		}
		if err != nil {
			s.Logger.InfoContext(ctx, "a drift is left for later", "target", t, "error", err)
			return accepted, false
		}
		if c.Elsewhere { // the others show nowhere
			*tag = preference.Tag(p.Version(), result.Operation.Number)
		}
		accepted++
	}
	s.observe(t, drifts, Observer.Repaired)
	s.Logger.WarnContext(ctx, "a target had drifted", "target", t, "customer", p.Customer().Pseudonym(), "items", labels(drifts))
	return accepted, true
}

func (s *Service) observe(t preference.Target, drifts []preference.Drift, tell func(Observer, preference.Target, preference.Drift)) {
	if s.Observe == nil {
		return
	}
	for _, d := range drifts {
		tell(s.Observe, t, d)
	}
}

// commands take over what was withdrawn at the target, and put it right about the rest.
func commands(p preference.Preferences, t preference.Target, drifts []preference.Drift) []ports.ChangeCommand {
	var out []ports.ChangeCommand
	ask := func(c preference.Change, command ports.ChangeCommand) {
		command.Customer, command.Change, command.Actor = p.Customer(), c, preference.System
		command.Origin = consent.Origin{Source: string(command.Source)}
		out = append(out, command)
	}
	for _, c := range p.Adopted(drifts) {
		ask(c, ports.ChangeCommand{Source: sourceOf[t], Cause: "found_by_reconciliation", Elsewhere: true})
	}
	for _, c := range p.Discarded(drifts) {
		ask(c, ports.ChangeCommand{Source: sourceOf[t], Cause: preference.CauseUnregistered, Elsewhere: true,
			Only: []preference.Target{preference.CRM, preference.Push}})
	}
	for _, c := range preference.PutRight(drifts) {
		ask(c, ports.ChangeCommand{Source: preference.FromReconciler, Cause: "drift", Only: []preference.Target{t}})
	}
	return out
}

var sourceOf = map[preference.Target]preference.Source{preference.CRM: preference.FromCRM, preference.Push: preference.FromPush, preference.CMP: preference.FromCMP}

func labels(drifts []preference.Drift) (out []string) {
	for _, d := range drifts {
		out = append(out, fmt.Sprintf("%s: %s there, %s here (%s)", d.Item.Label(), d.Theirs, d.Ours, d.Remedy))
	}
	return out
}
