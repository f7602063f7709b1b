package compose

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"accord/app/gpc"
	"accord/domain/preference"
	"accord/ports"
)

func signalled(c preference.CustomerID, installation string, signal bool) ports.SignalledRequest {
	_, id, _ := strings.Cut(installation, ": ")
	return ports.SignalledRequest{Customer: c, Installation: id, Signal: signal, RequestID: "r"}
}

// fallible is a store that does not answer when told.
type fallible struct {
	ports.SignalStore
	fail, failHonoured atomic.Bool
}

func (f *fallible) SignalStands(ctx context.Context, c preference.CustomerID, installation string) (ports.PrivacySignal, error) {
	if f.fail.Load() {
		return ports.PrivacySignal{}, errors.New("down")
	}
	return f.SignalStore.SignalStands(ctx, c, installation)
}

func (f *fallible) SignalHonoured(ctx context.Context, c preference.CustomerID, installation string, since time.Time) error {
	if f.failHonoured.Load() {
		return errors.New("down")
	}
	return f.SignalStore.SignalHonoured(ctx, c, installation, since)
}

func (in *installed) signalsOver(store ports.SignalStore) *gpc.Service {
	s := gpc.New(gpc.Config{Store: store, Accounts: in.c.db, Changes: in.service, Channels: []preference.ChannelKey{"promotions"},
		Count: func(outcome string) { in.c.metrics.signals.WithLabelValues(outcome).Inc() }, Now: time.Now, Logger: in.c.log})
	in.t.Cleanup(s.Close)
	return s
}
