package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// huntMutants breaks the system in one way at a time, and expects a run to notice each.
func huntMutants(ctx context.Context, o options, pattern string) error {
	found, err := filepath.Glob(filepath.Join(patches, "mutants", pattern+".patch"))
	if err != nil || len(found) == 0 {
		return errors.Join(err, fmt.Errorf("no patch matches %q", pattern))
	}
	var missed []string
	for _, patch := range found {
		name := strings.TrimSuffix(filepath.Base(patch), ".patch")
		dir, err := os.MkdirTemp("", "accord-mutant-")
		if err != nil {
			return err
		}
		one := o
		one.binary, one.deploy = filepath.Join(dir, "accord"), false
		began := time.Now()
		say("mutant %s", name)
		err = buildPatched(ctx, one.binary, "mutant-"+name, []string{patch})
		if err == nil {
			err = run(ctx, one)
		}
		_ = os.RemoveAll(dir)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errBroken):
			say("mutant %s: found, after %s", name, time.Since(began).Round(time.Second))
		case err != nil:
			say("mutant %s: could not be judged: %v", name, err)
			missed = append(missed, name)
		default:
			say("mutant %s: NOT found", name)
			missed = append(missed, name)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not found: %s", strings.Join(missed, ", "))
	}
	return nil
}
