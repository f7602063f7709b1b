package compose

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"accord/adapters/postgres"
	"accord/app/config"
)

// Migrate brings the database up to date. Several at once wait for each other.
func Migrate(ctx context.Context, cfg config.Config, out io.Writer) error {
	if err := cfg.Validate(config.NeedDatabase); err != nil {
		return err
	}
	return postgres.Migrate(ctx, cfg.DatabaseURL.Reveal(), func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) })
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
