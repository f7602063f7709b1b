package compose

import (
	"context"
	"errors"
	"net/http"

	httpapi "accord/adapters/http"
)

// serveProfiles answers /debug/pprof where ACCORD_PROFILE_ADDR says, until the returned function is called.
func (c *core) serveProfiles(ctx context.Context) (stop func(), err error) {
	if c.cfg.ProfileAddr == "" {
		return func() {}, nil
	}
	ln, err := listen(ctx, "ACCORD_PROFILE_ADDR", c.cfg.ProfileAddr)
	if err != nil {
		return nil, err
	}
	srv := httpapi.NewServer(httpapi.NewProfiles(), c.cfg.ProfileAddr)
	srv.WriteTimeout = 0 // whoever asks says how long a profile takes
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			c.log.Error("profiles are not served any more", "error", err)
		}
	}()
	c.log.Info("profiles are served", "address", ln.Addr().String())
	// A profile under way is nothing to wait for.
	return func() { _ = srv.Close() }, nil
}
