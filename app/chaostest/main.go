// Command chaostest runs Accord scaled out on this machine under a random workload while a nemesis kills, pauses, cuts and
// fills what it runs on, and then has a checker judge whether every promise was kept: see docs/chaos.md.
//
// What is done and when follows from the seed alone, so a run can be had again; how the system's own processes interleave
// does not, so the same seed need not fail twice. What it did is in the recorded history.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"accord/app/chaostest/checker"
)

// options of a run.
type options struct {
	seed          uint64
	duration      time.Duration
	settle        time.Duration
	customers     int
	clients       int
	rate          float64
	out           string
	binary        string
	deploy        bool
	calm          bool
	only          []string // disturbances that it is confined to; see wanted
	dense         float64  // how many times more often than otherwise they come
	lasting       int      // how many times more calls a fault meets
	vendorTimeout time.Duration
	test          []string // that is to fail instead of a run
	focus         string   // of what clients do: preferences, inbox, told; empty for everything
	doubleOptIn   string   // on or off: whether e-mail marketing has to be confirmed; empty for on where the seed is even
}

func main() {
	var o options
	var recheck, mutants string
	flag.Uint64Var(&o.seed, "seed", 0, "what is done and when; 0 takes one by the clock")
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long work and disturbances last")
	flag.DurationVar(&o.settle, "settle", 10*time.Minute, "how long the healed system may take until nothing is open")
	flag.IntVar(&o.customers, "customers", 2000, "how many there are")
	flag.IntVar(&o.clients, "clients", 24, "how many work at a time")
	flag.Float64Var(&o.rate, "rate", 30, "requests per second of all of them")
	flag.StringVar(&o.out, "out", filepath.Join(".accord", "chaos"), "where the record of a run is kept, in a folder of its own")
	flag.StringVar(&o.binary, "accord", "", "the accord command to run; built from this checkout when empty")
	flag.BoolVar(&o.deploy, "deploy", true, "roll a worker of the next version out in the middle")
	flag.BoolVar(&o.calm, "calm", false, "no disturbances: what is found then is a mistake of the workload or the checker")
	flag.Func("nemesis", "confine the disturbances to these: words of each, separated by semicolons", func(s string) error { return o.set("nemesis", s) })
	flag.Float64Var(&o.dense, "dense", 1, "how many times more often than otherwise they come")
	flag.IntVar(&o.lasting, "lasting", 1, "how many times more calls than otherwise a fault meets, while it lasts")
	flag.DurationVar(&o.vendorTimeout, "vendor-timeout", 3*time.Second, "how long a call of a vendor may take; short, so that much happens in little time")
	flag.StringVar(&o.focus, "focus", "", "have clients do mostly this: preferences, inbox or told")
	flag.StringVar(&o.doubleOptIn, "double-opt-in", "", "on or off: whether a subscription to e-mail has to be confirmed by a link; by default where the seed is even")
	flag.StringVar(&recheck, "check", "", "judge the record in this folder again, and run nothing")
	flag.StringVar(&mutants, "mutants", "", "run against each broken system whose patch matches this pattern, and expect it to be found")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	if o.doubleOptIn == "" {
		o.doubleOptIn = map[bool]string{true: "on", false: "off"}[o.seed%2 == 0 && mutants == ""]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case recheck != "":
		err = judge(recheck)
	case mutants != "":
		err = huntMutants(ctx, o, mutants)
	default:
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		os.Exit(1)
	}
}

// brokenError: promises were not kept.
type brokenError struct{ rules map[string]int } // how often each

func (e brokenError) Error() string {
	var parts []string
	for _, rule := range slices.Sorted(maps.Keys(e.rules)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", rule, e.rules[rule]))
	}
	return "promises were broken: " + strings.Join(parts, ", ")
}

// run is one whole run, with its record kept.
func run(ctx context.Context, o options) (err error) {
	dir := filepath.Join(o.out, fmt.Sprintf("%d-%s", o.seed, time.Now().UTC().Format("20060102T150405")))
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a record anybody may read
		return err
	}
	say("seed %d, %s, %d customers, %d clients, %g requests/s, double opt-in %s; record in %s", o.seed, o.duration, o.customers, o.clients, o.rate, o.doubleOptIn, dir)
	began := time.Now()
	if err := perform(ctx, o, dir); err != nil {
		return fmt.Errorf("seed %d: %w", o.seed, err)
	}
	say("all of it took %s", time.Since(began).Round(time.Second))
	if err := judge(dir); err != nil {
		return fmt.Errorf("seed %d: %w; the account is %s", o.seed, err, filepath.Join(dir, "report.txt"))
	}
	return nil
}

// perform brings the system up, lets everybody loose on it, heals it, and writes down what is said at the end.
func perform(ctx context.Context, o options, dir string) (err error) {
	s, err := startStack(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	rec, err := newRecorder(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.close()) }()

	w := newWorkload(o, dir, s, rec)
	if err := w.prepare(ctx); err != nil {
		return err
	}
	say("everything is up; off it goes")
	working, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	listening := w.listen(ctx)
	n := &nemesis{dir: dir, stack: s, rec: rec}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if !o.calm {
			n.rage(working, schedule(o))
		}
	}()
	w.work(working)
	<-ended
	if ctx.Err() != nil {
		return ctx.Err()
	}
	say("healing; %s", n.counted())
	final := &checker.Final{DoubleOptIn: o.doubleOptIn == "on"}
	if err := s.heal(ctx); err != nil {
		return err
	}
	for _, c := range w.everybody {
		c.tellTheRest(ctx)
	}
	w.eraseAll(ctx)
	if err := w.settle(ctx, final); err != nil {
		return err
	}
	say("settled: %s", final.Settled)
	if final.Quiet {
		w.putRight(ctx)
		if err := w.settle(ctx, final); err != nil {
			return err
		}
	}
	listening.probe(ctx, final)
	listening.catchUp(ctx)
	if err := w.collect(ctx, final); err != nil {
		return err
	}
	raw, err := json.Marshal(final)
	if err != nil {
		return err
	}
	say("%s", w.counted(final))
	return errors.Join(os.WriteFile(filepath.Join(dir, "final.json"), raw, 0o600), s.crashes())
}

// judge reads the record of a run and says what it thinks of it.
func judge(dir string) error {
	f, err := os.Open(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := checker.Read(f)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "final.json"))
	if err != nil {
		return err
	}
	final := &checker.Final{}
	if err := json.Unmarshal(raw, final); err != nil {
		return fmt.Errorf("final.json: %w", err)
	}
	report := checker.Check(h, final)
	told := report.Told(h)
	fmt.Print(told)
	if err := os.WriteFile(filepath.Join(dir, "report.txt"), []byte(told), 0o600); err != nil {
		return err
	}
	if len(report.Violations) == 0 {
		return nil
	}
	broken := brokenError{map[string]int{}}
	for _, v := range report.Violations {
		broken.rules[v.Rule]++
	}
	return broken
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, args...))
}
