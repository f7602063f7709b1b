package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A mutant's patch begins with what suits it, one to a line: "# customers: 4". The checker is told none of it.

// set takes one of these by its name.
func (o *options) set(name, value string) (err error) {
	switch name {
	case "off": // what is turned off, for people
	case "duration":
		o.duration, err = time.ParseDuration(value)
	case "settle":
		o.settle, err = time.ParseDuration(value)
	case "customers":
		o.customers, err = strconv.Atoi(value)
	case "rate":
		o.rate, err = strconv.ParseFloat(value, 64)
	case "dense":
		o.dense, err = strconv.ParseFloat(value, 64)
	case "lasting":
		o.lasting, err = strconv.Atoi(value)
	case "vendor-timeout":
		o.vendorTimeout, err = time.ParseDuration(value)
	case "focus":
		if o.focus = value; works[value] == nil {
			err = fmt.Errorf("there is no %q to focus on", value)
		}
	case "test": // package and arguments of go test: what needs more aim than disturbances by chance have
		o.test = strings.Fields(value)
	case "double-opt-in":
		if o.doubleOptIn = value; value != "on" && value != "off" {
			err = fmt.Errorf("double opt-in is on or off, not %q", value)
		}
	case "nemesis":
		o.only = nil
		for _, words := range strings.Split(value, ";") {
			o.only = append(o.only, strings.TrimSpace(words))
		}
		o.calm = value == "none"
	default:
		err = fmt.Errorf("there is no setting %q", name)
	}
	return err
}

// suited are the options with those of the patch.
func (o options) suited(patch string) (options, error) {
	f, err := os.Open(patch)
	if err != nil {
		return o, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, is := strings.CutPrefix(lines.Text(), "# ")
		if !is {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		if err := o.set(name, value); err != nil {
			return o, fmt.Errorf("%s: %w", patch, err)
		}
	}
	return o, nil
}

// huntMutants breaks the system in one way at a time, and expects a run to notice each, or the test that the patch names.
func huntMutants(ctx context.Context, o options, pattern string) error {
	found, err := filepath.Glob(filepath.Join(patches, "mutants", pattern+".patch"))
	if err != nil || len(found) == 0 {
		return errors.Join(err, fmt.Errorf("no patch matches %q", pattern))
	}
	var missed []string
	for _, patch := range found {
		name := strings.TrimSuffix(filepath.Base(patch), ".patch")
		began := time.Now()
		say("mutant %s", name)
		err := runMutant(ctx, o, name, patch)
		took := time.Since(began).Round(time.Second)
		var broken brokenError
		var failed failedError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &broken), errors.As(err, &failed):
			say("mutant %s: found after %s: %v", name, took, err)
		case err != nil:
			say("mutant %s: could not be judged, after %s: %v", name, took, err)
			missed = append(missed, name)
		default:
			say("mutant %s: NOT found, after %s", name, took)
			missed = append(missed, name)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not found: %s", strings.Join(missed, ", "))
	}
	return nil
}

func runMutant(ctx context.Context, o options, name, patch string) error {
	o, err := o.suited(patch)
	if err != nil {
		return err
	}
	if len(o.test) > 0 {
		return testPatched(ctx, patch, o.test)
	}
	dir, err := os.MkdirTemp("", "accord-mutant-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.binary, o.deploy = filepath.Join(dir, "accord"), false
	if err := buildPatched(ctx, o.binary, "mutant-"+name, []string{patch}); err != nil {
		return err
	}
	return run(ctx, o)
}
