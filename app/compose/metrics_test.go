package compose

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"accord/app/config"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
)

// retrying calls what it is given so often, as a store does whose transactions meet others, and ends as told.
type retrying struct {
	ports.Accounts
	times int
	ends  error
	load  func() *preference.Account
}

func (r retrying) Update(_ context.Context, _ preference.CustomerID, _ string, fn func(*preference.Account) error) error {
	for range r.times {
		if err := fn(r.load()); err != nil {
			return err
		}
	}
	return r.ends
}

func TestChangesAreCountedWhenTheyAreStored(t *testing.T) {
	t.Parallel()
	catalogue, err := config.Load(nil).Catalogue()
	require.NoError(t, err)
	load := func() *preference.Account {
		return preference.RestoreAccount(preference.Standing{Preferences: preference.Defaults("ada", catalogue), Chain: consent.Chain{ID: "ch_1", Key: consent.Key{1}}})
	}
	c := newChanges(prometheus.NewRegistry())
	withdraw := func(r retrying) error {
		r.load = load
		return c.measured(r).Update(t.Context(), "ada", "", func(a *preference.Account) error {
			change, err := preference.SetEmail(preference.Unsubscribed, nil)
			require.NoError(t, err)
			_, _, err = a.Accept(preference.Request{ID: "op_1", Change: change, Source: preference.FromApp, Actor: consent.Actor{Type: "customer", ID: "ada"}}, time.Now())
			return err
		})
	}
	accepted, unstored := c.accepted.WithLabelValues("withdrawal", "app"), c.unstored.WithLabelValues("unavailable")

	require.NoError(t, withdraw(retrying{times: 3}))
	require.InDelta(t, 1, testutil.ToFloat64(accepted), 0, "tried three times, stored once")
	require.InDelta(t, 0, testutil.ToFloat64(unstored), 0)

	require.Error(t, withdraw(retrying{times: 1, ends: fault.New(fault.Unavailable, "unavailable", "no database")}))
	require.InDelta(t, 1, testutil.ToFloat64(accepted), 0, "what is not stored is not accepted")
	require.InDelta(t, 1, testutil.ToFloat64(unstored), 0)

	refused := errors.New("refused")
	require.ErrorIs(t, c.measured(retrying{times: 1, load: load}).Update(t.Context(), "ada", "", func(*preference.Account) error { return refused }), refused)
	require.InDelta(t, 1, testutil.ToFloat64(unstored), 0, "a refusal had nothing to store")
}
