package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"accord/adapters/postgres"
	"accord/app/config"
	"accord/domain/consent"
)

// Migrate brings the database up to date. Several at once wait for each other.
func Migrate(ctx context.Context, cfg config.Config, out io.Writer) error {
	if err := cfg.Validate(config.NeedDatabase); err != nil {
		return err
	}
	return postgres.Migrate(ctx, cfg.DatabaseURL.Reveal(), func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
}

// errTampered makes the command's exit status tell.
var errTampered = errors.New("the ledger was tampered with")

// AuditVerify checks every chain of the ledger, or one: by its name, or its customer's. It prints what is wrong.
// Without ACCORD_DATABASE_URL it is the development stack's database.
func AuditVerify(ctx context.Context, cfg config.Config, log *slog.Logger, only string, out io.Writer) error {
	cfg = joinDev(cfg)
	if err := cfg.Validate(config.NeedDatabase); err != nil {
		return err
	}
	db, err := openLedger(ctx, cfg, log)
	if err != nil {
		return err
	}
	findings := 0
	v, err := db.Verify(ctx, only, func(f consent.Finding) {
		findings++
		fmt.Fprintln(out, f)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if only != "" && v.Chains == 0 && findings == 0 {
		return fmt.Errorf("there is no ledger of %q", only)
	}
	fmt.Fprintf(out, "%d entries in %d chains (%d of them erased), %d findings\n", v.Entries, v.Chains, v.Erased, findings)
	if v.Closed > 0 {
		fmt.Fprintf(out, "%d entries were held against their hashes alone: what they are sealed under is not in ACCORD_LEDGER_KEYS\n", v.Closed)
	}
	if findings > 0 {
		return errTampered
	}
	return nil
}

// openLedger opens the database for a command that looks at the ledger; the keys may be missing.
func openLedger(ctx context.Context, cfg config.Config, log *slog.Logger) (*postgres.DB, error) {
	catalogue, err := cfg.Catalogue()
	if err != nil {
		return nil, err
	}
	keys, err := ledgerKeys(cfg)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Config{URL: cfg.DatabaseURL.Reveal(), MaxConns: 4, Catalogue: catalogue, Keys: keys, Logger: log})
}

// Probe asks a health check for whoever has nothing else to ask it with, such as a container without a shell.
func Probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}
