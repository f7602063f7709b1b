// Package stacktest gives tests a real Postgres and a real Temporal: one throw-away server of each for a test process,
// started when first asked for, and a database or namespace of its own for every test. Only tests import it.
//
//	func TestMain(m *testing.M) { stacktest.Main(m) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		url := stacktest.PostgresFrom(t, "migrated", migrate) // migrate runs once for all tests of the process
//		…
//	}
//
// Servers that run already are used instead when ACCORD_TEST_DATABASE_URL (a role that may create databases) and
// ACCORD_TEST_TEMPORAL_ADDRESS name them.
package stacktest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stopTime is how long the servers may take to stop.
const stopTime = 20 * time.Second

var (
	stopsMu sync.Mutex
	stops   []func(context.Context) error
)

// atEnd has stop called by Main, in reverse order.
func atEnd(stop func(context.Context) error) {
	stopsMu.Lock()
	defer stopsMu.Unlock()
	stops = append(stops, stop)
}

// Main runs the tests, stops what they have started and exits. Call it from TestMain. A process that ends without it (a
// panic, a time-out) takes the servers with it all the same; only a temporary folder stays, until the next run.
func Main(m *testing.M) {
	code := m.Run()
	if err := stopAll(); err != nil {
		fmt.Fprintln(os.Stderr, "stacktest:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func stopAll() error {
	stopsMu.Lock()
	defer stopsMu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var failed []error
	for i := len(stops) - 1; i >= 0; i-- {
		failed = append(failed, stops[i](ctx))
	}
	stops = nil
	return errors.Join(failed...)
}

// unique is a name for a database or namespace that nothing else uses.
func unique(prefix string) string {
	return prefix + "_" + strings.ToLower(rand.Text()[:12])
}

// binDir is .accord/bin of this checkout, where the Temporal CLI is kept.
func binDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module accord\n") {
			return filepath.Join(dir, ".accord", "bin"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the tests run outside of Accord's checkout")
		}
		dir = parent
	}
}

// progress goes to the console: a first build of the Temporal CLI takes minutes, and silence would look like a hang.
func progress(message string) {
	fmt.Fprintln(os.Stderr, "stacktest:", message)
}
