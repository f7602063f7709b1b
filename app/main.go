// Command accord is the whole of Accord: `accord help` lists what it can do.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/caarlos0/env/v11"

	"accord/app/compose"
	"accord/app/config"
)

const help = `accord COMMAND

  dev            everything on this machine: Postgres, Temporal with UI, sandbox, API, worker, demo data
  serve          the HTTP API
  worker         the saga's worker
  sandbox        the emulated vendors
  sandbox env    the settings that point serve and worker at a sandbox
  migrate        bring the database up to date
  audit verify   check the ledger's chains; exit status 1 when something was tampered with
                 (accord audit verify CUSTOMER checks one)
  probe URL      ask a health check; exit status 0 when it answers 200
  version        this build

Settings come from the environment; docs/configuration.md lists them.
`

// buildID names this build; the linker sets it.
var buildID = "dev"

func main() {
	compose.Build = buildID
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "accord: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, err := config.Load(env.ToMap(os.Environ()))
	if err != nil {
		return err
	}
	log := cfg.Logger(os.Stderr)
	switch command, rest := split(args); command {
	case "dev":
		return compose.Dev(ctx, cfg, os.Stdout)
	case "serve":
		return compose.Serve(ctx, cfg, log)
	case "worker":
		return compose.Worker(ctx, cfg, log)
	case "sandbox":
		if len(rest) == 1 && rest[0] == "env" {
			fmt.Print(compose.SandboxEnv(cfg))
			return nil
		}
		return compose.Sandbox(ctx, cfg, log)
	case "migrate":
		return compose.Migrate(ctx, cfg, os.Stdout)
	case "audit":
		if len(rest) > 0 && rest[0] == "verify" {
			return compose.AuditVerify(ctx, cfg, log, rest[1:], os.Stdout)
		}
	case "probe":
		if len(rest) == 1 {
			return compose.Probe(ctx, rest[0])
		}
	case "version":
		fmt.Println(compose.Build)
		return nil
	case "", "help", "-h", "--help":
		fmt.Print(help)
		return nil
	}
	return fmt.Errorf("unknown command %q; accord help lists them", args)
}

func split(args []string) (command string, rest []string) {
	if len(args) == 0 {
		return "", nil
	}
	return args[0], args[1:]
}
