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
	"accord/domain/preference"
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

// AuditVerify checks every customer's chain, or the given one's, and prints what is wrong.
// Without ACCORD_DATABASE_URL it is the development stack's database.
func AuditVerify(ctx context.Context, cfg config.Config, log *slog.Logger, only string, out io.Writer) error {
	if cfg.DatabaseURL == "" {
		cfg.DatabaseURL = devDatabase(cfg.StateDir)
	}
	if err := cfg.Validate(config.NeedDatabase); err != nil {
		return err
	}
	var customer preference.CustomerID
	if only != "" {
		var err error
		if customer, err = preference.ParseCustomerID(only); err != nil {
			return err
		}
	}
	catalogue, err := cfg.Catalogue()
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, postgres.Config{URL: cfg.DatabaseURL.Reveal(), MaxConns: 4, Catalogue: catalogue, Logger: log})
	if err != nil {
		return err
	}
	findings := 0
	chains, entries, err := db.Verify(ctx, customer, func(f consent.Finding) {
		findings++
		fmt.Fprintln(out, f)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if only != "" && chains == 0 {
		return fmt.Errorf("there is no ledger of %q", only)
	}
	fmt.Fprintf(out, "%d entries in %d chains, %d findings\n", entries, chains, findings)
	if findings > 0 {
		return errTampered
	}
	return nil
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
