// Command accord is the whole of Accord: `accord help` lists what it can do.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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
  audit verify   check the ledger's chains and checkpoints; exit status 1 when something was tampered with
                 (accord audit verify CUSTOMER, or the name of a chain, checks one)
                 (accord audit verify FILE checks a proof offline, and says what it proves)
                   --checkpoints DIR   hold it against copies of checkpoints that were kept outside
                   --key KEY           trust this public key of checkpoints, too
  keys new       print fresh keys for the configuration
  keys rewrap    wrap every data key of the ledger under the current key
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
	cfg := config.Load(env.ToMap(os.Environ()))
	log := cfg.Logger(os.Stderr)
	// A word too many is refused: whoever asks for help must not start something.
	switch command := strings.Join(args, " "); command {
	case "dev":
		return compose.Dev(ctx, cfg, os.Stdout)
	case "serve":
		return compose.Serve(ctx, cfg, log)
	case "worker":
		return compose.Worker(ctx, cfg, log)
	case "sandbox":
		return compose.Sandbox(ctx, cfg, log)
	case "sandbox env":
		fmt.Print(compose.SandboxEnv(cfg))
		return nil
	case "migrate":
		return compose.Migrate(ctx, cfg, os.Stdout)
	case "keys new":
		return compose.KeysNew(os.Stdout, time.Now())
	case "keys rewrap":
		return compose.KeysRewrap(ctx, cfg, log, os.Stdout)
	case "version":
		fmt.Println(compose.Build)
		return nil
	case "", "help", "-h", "--help":
		fmt.Print(help)
		return nil
	}
	switch {
	case len(args) >= 2 && args[0] == "audit" && args[1] == "verify":
		o, err := auditOptions(args[2:])
		if err != nil {
			return err
		}
		if info, err := os.Stat(o.Only); err == nil && info.Mode().IsRegular() {
			return compose.AuditProof(cfg, o.Only, o.Keys, os.Stdout)
		}
		return compose.AuditVerify(ctx, cfg, log, o, os.Stdout)
	case len(args) == 2 && args[0] == "probe":
		return compose.Probe(ctx, args[1])
	}
	return fmt.Errorf("unknown command %q; accord help lists them", strings.Join(args, " "))
}

// auditOptions reads what comes after `accord audit verify`, in any order.
func auditOptions(args []string) (o compose.AuditOptions, err error) {
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case (word == "--checkpoints" || word == "--key") && len(args) == 0:
			return o, fmt.Errorf("%s needs a value; accord help explains it", word)
		case word == "--checkpoints":
			o.Checkpoints, args = args[0], args[1:]
		case word == "--key":
			o.Keys, args = append(o.Keys, args[0]), args[1:]
		case strings.HasPrefix(word, "-") || o.Only != "":
			return o, fmt.Errorf("audit verify: %q is a word too many; accord help lists what there is", word)
		default:
			o.Only = word
		}
	}
	return o, nil
}
