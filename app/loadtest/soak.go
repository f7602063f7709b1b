package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"accord/workflows/devices"
	"accord/workflows/inbox"
)

// soakOptions of a run.
type soakOptions struct {
	shape
	out       string
	duration  time.Duration
	every     time.Duration
	customers int
	rate      float64
	streams   int
}

func soakCommand(ctx context.Context, arguments []string) error {
	var o soakOptions
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	flags.StringVar(&o.out, "out", filepath.Join("docs", "soak"), "folder of the report")
	flags.StringVar(&o.binary, "accord", "", "the accord command to run; built from this checkout when empty")
	flags.IntVar(&o.apis, "apis", 2, "instances of the API")
	flags.IntVar(&o.workers, "workers", 2, "workers")
	flags.DurationVar(&o.duration, "duration", time.Hour, "how long traffic goes on")
	flags.DurationVar(&o.every, "every", 5*time.Second, "how often everything is measured")
	flags.IntVar(&o.customers, "customers", 200, "how many there are")
	flags.Float64Var(&o.rate, "rate", 20, "requests per second")
	flags.IntVar(&o.streams, "streams", 40, "streams that are open all the time")
	_ = flags.Parse(arguments) // it ends the program
	if o.every <= 0 || o.duration < 4*fewestMoments*o.every {
		return fmt.Errorf("-duration %s is too short to say anything when everything is measured every %s", o.duration, o.every)
	}
	if o.rate <= 0 || o.streams < 1 || o.customers < 1 {
		return errors.New("-rate, -streams and -customers must be more than nothing")
	}
	return soak(ctx, o)
}

// Short, so that what comes and goes does so many times within a run. Schedules that clean up every ten minutes are triggered, as an
// operator may: by themselves they would go a few times an hour, and what they keep low would look as if it grew.
const (
	retention    = "ACCORD_INBOX_RETENTION=1m"
	cleanUpEvery = time.Minute
)

// mostMissed is how many times one after the other it may be that not everything could be measured.
const mostMissed = 12

// soaked is a run with what was found.
type soaked struct {
	options  soakOptions
	at       conditions
	record   *record
	verdicts []verdict
	traffic  *traffic
	rest     []rest
	drained  time.Duration

	unmeasured int // moments at which not everything could be measured
}

// rest is a part before any traffic and after all of it, when nothing is under way.
type rest struct {
	name                string
	before, after       float64 // goroutines
	filesFrom, filesNow int
}

func soak(ctx context.Context, o soakOptions) (err error) {
	out := &soaked{options: o, at: conditionsNow()}
	say("load average %s", out.at.Load)
	o.settings = append(o.settings, retention)
	s, err := startSystem(ctx, o.shape, filepath.Join(".accord", "soak", "logs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if out.at.Postgres, err = s.serverVersion(ctx); err != nil {
		return err
	}
	p, err := newPeople(s, o.customers)
	if err != nil {
		return err
	}
	say("everything is up; %d customers get phones and messages", o.customers)
	if err := p.settle(ctx); err != nil {
		return err
	}
	if err := out.keepGoing(ctx, s, p); err != nil {
		return err
	}
	for _, series := range out.record.series {
		out.verdicts = append(out.verdicts, out.record.judge(series))
	}
	if err := out.report(o.out); err != nil {
		return err
	}
	say("the report is %s", filepath.Join(o.out, "report.md"))
	return out.failures()
}

// keepGoing has traffic flow and measures meanwhile, then lets everything come to rest.
func (out *soaked) keepGoing(ctx context.Context, s *system, p *people) error {
	if _, err := p.drained(ctx); err != nil {
		return err
	}
	if err := out.resting(ctx, s, p, func(r *rest, goroutines float64, files int) { r.before, r.filesFrom = goroutines, files }); err != nil {
		return err
	}
	var err error
	if out.traffic, err = newTraffic(ctx, p, out.options.rate, out.options.streams); err != nil {
		return err
	}
	sampling, err := newSampler(ctx, s)
	if err != nil {
		return err
	}
	defer sampling.close(ctx)
	say("traffic begins: %g requests a second for %s", out.options.rate, out.options.duration)
	flowing, stop := context.WithTimeout(ctx, out.options.duration)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out.traffic.flow(flowing)
	}()
	err = out.measure(flowing, s, sampling)
	stop()
	<-ended
	out.record = sampling.record
	if err == nil {
		out.drained, err = p.drained(ctx)
	}
	out.traffic.close()
	if err != nil {
		return err
	}
	return out.resting(ctx, s, p, func(r *rest, goroutines float64, files int) { r.after, r.filesNow = goroutines, files })
}

// measure takes everything again and again until ctx ends, which is no error.
func (out *soaked) measure(ctx context.Context, s *system, m *sampler) error {
	tick := time.NewTicker(out.options.every)
	defer tick.Stop()
	cleaned, saidAt, missed := time.Now(), time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := m.take(context.WithoutCancel(ctx), float64(out.traffic.events.Load()))
		if time.Since(cleaned) >= cleanUpEvery {
			cleaned = time.Now()
			for _, schedule := range []string{inbox.CleanUpSchedule, devices.PruneSchedule} {
				err = errors.Join(err, trigger(context.WithoutCancel(ctx), m, schedule))
			}
		}
		switch {
		case err == nil:
			missed = 0
		case missed == mostMissed || s.ended() != nil:
			return errors.Join(err, s.ended())
		default: // a server may be too busy for an answer now and then; what it would have said is unknown
			missed++
			out.unmeasured++
			say("not everything could be measured: %v", err)
		}
		if r := m.record; time.Since(saidAt) >= time.Minute {
			saidAt = time.Now()
			say("%.0f s: %.0f changes, %s", r.at[len(r.at)-1], r.changes[len(r.changes)-1], out.traffic.told())
		}
	}
}

// resting measures every part when nothing is under way, once it has become calm.
func (out *soaked) resting(ctx context.Context, s *system, p *people, note func(*rest, float64, int)) error {
	p.http.CloseIdleConnections()
	if len(out.rest) == 0 {
		for _, one := range s.parts {
			if one.metrics != "" {
				out.rest = append(out.rest, rest{name: one.Name})
			}
		}
	}
	least := map[string]float64{}
	for range 10 { // the fewest of ten looks: what goes on by itself every few seconds is not what is looked for
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		for i := range out.rest {
			r := &out.rest[i]
			one := s.parts[slices.IndexFunc(s.parts, func(p *part) bool { return p.Name == r.name })]
			m, err := scrape(ctx, one.metrics)
			if err != nil {
				return err
			}
			if n, looked := least[r.name]; !looked || m.value("go_goroutines") < n {
				least[r.name] = m.value("go_goroutines")
				note(r, least[r.name], openFiles(one.PID()))
			}
		}
	}
	return nil
}

// What may be left of a load that is over: connections to the database that are kept, and pollers.
const (
	leftGoroutines = 60
	leftFiles      = 40
)

func (r rest) failed() bool {
	return r.after > r.before+leftGoroutines || r.filesNow > r.filesFrom+leftFiles
}

// failures are everything that grew and should not have, and requests that were not answered as they should have been.
func (out *soaked) failures() error {
	var errs []error
	for _, v := range out.verdicts {
		if v.failed {
			errs = append(errs, fmt.Errorf("%s: %s, where at most %s is right", v.name, v.growth, v.limit))
		}
	}
	for _, r := range out.rest {
		if r.failed() {
			errs = append(errs, fmt.Errorf("%s at rest: %.0f goroutines and %d files, before %.0f and %d", r.name, r.after, r.filesNow, r.before, r.filesFrom))
		}
	}
	t := out.traffic
	done, failed := 0, 0
	for _, n := range t.done {
		done += n
	}
	for _, n := range t.failed {
		failed += n
	}
	if failed*100 > done {
		errs = append(errs, fmt.Errorf("%d of %d requests failed, the first with: %w", failed, done, t.failure))
	}
	return errors.Join(errs...)
}

func (t *traffic) told() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	done, failed := 0, 0
	for _, name := range slices.Sorted(maps.Keys(t.done)) {
		done += t.done[name]
		failed += t.failed[name]
	}
	return fmt.Sprintf("%d requests, %d failed, %d turns missed", done, failed, t.missed.Load())
}
