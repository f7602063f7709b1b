// Command loadtest measures the whole of Accord on this machine, each part a process of its own: how much it does with more and
// more clients and what stops it (load), and whether it stays as it is while it goes on (soak). See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, arguments := "", os.Args[1:]
	if len(arguments) > 0 {
		command, arguments = arguments[0], arguments[1:]
	}
	var err error
	switch command {
	case "load":
		err = loadCommand(ctx, arguments)
	case "soak":
		err = soakCommand(ctx, arguments)
	default:
		err = errors.New("say what to do: load or soak")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "loadtest: %v\n", err)
		os.Exit(1)
	}
}

// loadOptions of a run.
type loadOptions struct {
	shape
	out       string
	customers int
	clients   string
	streams   string
	window    time.Duration
	only      string
}

func loadCommand(ctx context.Context, arguments []string) error {
	var o loadOptions
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	flags.StringVar(&o.out, "out", filepath.Join("docs", "load"), "folder of the report")
	flags.StringVar(&o.binary, "accord", "", "the accord command to run; built from this checkout when empty")
	flags.IntVar(&o.apis, "apis", 1, "instances of the API")
	flags.IntVar(&o.workers, "workers", 1, "workers")
	flags.IntVar(&o.customers, "customers", 400, "how many there are")
	flags.StringVar(&o.clients, "clients", "1,4,16,64,128", "numbers of clients, separated by commas")
	flags.StringVar(&o.streams, "streams", "250,500,1000,2000", "numbers of streams, separated by commas")
	flags.DurationVar(&o.window, "window", 6*time.Second, "how long each number of clients is measured")
	flags.StringVar(&o.only, "only", "", "workloads by their names, separated by commas; all when empty")
	_ = flags.Parse(arguments) // it ends the program
	clients, err := numbers(o.clients)
	if err != nil {
		return fmt.Errorf("-clients: %w", err)
	}
	streams, err := numbers(o.streams)
	if err != nil {
		return fmt.Errorf("-streams: %w", err)
	}
	if most := clients[len(clients)-1]; o.customers < most {
		return fmt.Errorf("%d customers are too few for %d clients who each act for another one", o.customers, most)
	}
	return load(ctx, o, clients, streams)
}

// numbers that grow.
func numbers(list string) (out []int, err error) {
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || (len(out) > 0 && n <= out[len(out)-1]) {
			return nil, fmt.Errorf("%q must be numbers from 1 on, each larger than the one before", list)
		}
		out = append(out, n)
	}
	return out, nil
}

func load(ctx context.Context, o loadOptions, clients, streams []int) (err error) {
	at := conditionsNow()
	say("load average %s", at.Load)
	// Comparing with the vendors starts a minute after a change, in the middle of whatever is measured by then.
	o.settings = append(o.settings, "ACCORD_RECONCILE_EVERY=12h")
	s, err := startSystem(ctx, o.shape, filepath.Join(".accord", "load", "logs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	if at.Postgres, err = s.serverVersion(ctx); err != nil {
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
	if _, err := p.drained(ctx); err != nil {
		return err
	}
	var results []*result
	add := func(r *result) error { // after each, so that a run that is ended leaves what it has
		results = append(results, r)
		return report(o.out, at, o, results)
	}
	wanted := func(name string) bool {
		return o.only == "" || strings.Contains(","+o.only+",", ","+name+",")
	}
	if wanted("streams") { // first: memory that was in use for something else would be taken for theirs
		r, err := s.streams(ctx, p, streams, o.window)
		if err != nil {
			return fmt.Errorf("streams: %w", err)
		}
		if err := add(r); err != nil {
			return err
		}
	}
	for _, w := range workloads(p) {
		if !wanted(w.name) {
			continue
		}
		r, err := s.run(ctx, w, clients, o.window)
		if err != nil {
			return err
		}
		if err := add(r); err != nil {
			return err
		}
	}
	say("the report is %s", filepath.Join(o.out, "report.md"))
	return failedTooOften(results)
}

// failedTooOften is an error when more than one in a hundred was not answered as it should have been.
func failedTooOften(results []*result) error {
	var errs []error
	for _, r := range results {
		for _, l := range r.levels {
			if l.failures*100 > len(l.took)+l.failures {
				errs = append(errs, fmt.Errorf("%s: %d of %d failed with %d clients, the first with: %w", r.name, l.failures, len(l.took)+l.failures, l.clients, l.failure))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *system) serverVersion(ctx context.Context) (version string, err error) {
	conn, err := pgx.Connect(ctx, s.postgres.AdminURL())
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, "SHOW server_version").Scan(&version)
	version, _, _ = strings.Cut(version, " ")
	return version, err
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().UTC().Format("15:04:05"), fmt.Sprintf(format, args...))
}
