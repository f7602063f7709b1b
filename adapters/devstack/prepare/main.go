// Command prepare gets what the development stack needs before it is needed, showing progress: the tests of a fresh
// checkout would otherwise spend the first minutes of their time limit on it, in silence.
//
//	go run ./adapters/devstack/prepare <folder for programs, normally .accord/bin>
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"accord/adapters/devstack"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: prepare <folder for programs>")
		os.Exit(2)
	}
	if err := prepare(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func prepare(binDir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	progress := func(message string) { fmt.Fprintln(os.Stderr, message) }
	if os.Getenv("ACCORD_TEST_DATABASE_URL") == "" {
		path, err := devstack.FindPostgres(ctx, progress)
		if err != nil {
			return err
		}
		fmt.Println("Postgres:", path)
	}
	if os.Getenv("ACCORD_TEST_TEMPORAL_ADDRESS") == "" {
		path, err := devstack.FindTemporal(ctx, binDir, progress)
		if err != nil {
			return err
		}
		fmt.Println("Temporal:", path)
	}
	return nil
}
