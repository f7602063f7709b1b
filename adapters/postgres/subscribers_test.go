package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/domain/webhook"
	"accord/ports"
)

func newEndpoint(t *testing.T, id string) ports.Endpoint {
	t.Helper()
	secret, err := webhook.NewSecret(make([]byte, 32))
	require.NoError(t, err)
	return ports.Endpoint{ID: id, URL: "https://receiver.example/" + id, Events: []string{}, Secrets: []webhook.Secret{secret}}
}

// applyOne makes an operation that has changed something.
func applyOne(t *testing.T, db ports.Accounts, id string, at time.Time) {
	t.Helper()
	change, err := preference.SetEmail(preference.Subscribed, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(t.Context(), preference.CustomerID("c-"+id), "", func(a *preference.Account) error {
		op, _, err := a.Accept(preference.Request{ID: id, Change: change, Source: preference.FromCRM, Actor: consent.Actor{Type: "system", ID: "x"}, Budget: time.Minute}, at)
		if err != nil {
			return err
		}
		a.BeginAhead(op)
		return a.Commit(op, at)
	}))
}

func TestAnAppliedChangeIsHandedOutOnceToEachEndpoint(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	for _, id := range []string{"we_1", "we_2", "we_off"} {
		require.NoError(t, db.CreateEndpoint(t.Context(), newEndpoint(t, id), 3))
	}
	require.Equal(t, fault.Conflict, fault.KindOf(db.CreateEndpoint(t.Context(), newEndpoint(t, "we_4"), 3)))
	_, err := db.UpdateEndpoint(t.Context(), "we_off", func(e *ports.Endpoint) error { e.Disabled = "by_request"; return nil })
	require.NoError(t, err)
	applyOne(t, db, "op_old", time.Now().Add(-time.Hour)) // before there was an endpoint
	applyOne(t, db, "op_1", time.Now().Add(time.Second))
	applyOne(t, db, "op_2", time.Now().Add(time.Second))
	for range 3 {
		more, err := db.HandOut(t.Context(), 3)
		require.NoError(t, err)
		_ = more
	}
	count := func(endpoint string) (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, endpoint).Scan(&n))
		return n
	}
	require.Equal(t, []int{2, 2, 0}, []int{count("we_1"), count("we_2"), count("we_off")})

	// One that shows long after it says is found when a day is looked back.
	applyOne(t, db, "op_late", time.Now().Add(time.Second))
	exec(t, conn, `UPDATE operations SET settled_at = now() - interval '2 hours' WHERE id = 'op_late'`)
	exec(t, conn, `UPDATE webhook_endpoints SET enabled_at = now() - interval '3 hours'; UPDATE webhook_progress SET settled_until = now()`)
	_, err = db.HandOut(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 2, count("we_1"))
	exec(t, conn, `UPDATE webhook_progress SET looked_back = now() - interval '2 hours'`)
	_, err = db.HandOut(t.Context(), 100)
	require.NoError(t, err)
	require.Equal(t, 4, count("we_1"), "with the one of an hour ago, as the endpoint is older now")
	require.NoError(t, db.DeleteEndpoint(t.Context(), "we_1"))
	require.Equal(t, 0, count("we_1"))
}

// TestWhatSomebodyDiedOverIsSentBySomebodyElse, and who was only slow does not record over it.
func TestWhatSomebodyDiedOverIsSentBySomebodyElse(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	require.NoError(t, db.CreateEndpoint(t.Context(), newEndpoint(t, "we_1"), 3))
	applyOne(t, db, "op_1", time.Now().Add(time.Second))
	_, err := db.HandOut(t.Context(), 10)
	require.NoError(t, err)
	due, err := db.Due(t.Context())
	require.NoError(t, err)
	require.Len(t, due, 1)
	claim := func() []ports.DueDelivery {
		t.Helper()
		out, err := db.Claim(t.Context(), "we_1", 8, time.Hour)
		require.NoError(t, err)
		return out
	}
	first := claim()
	require.Len(t, first, 1)
	require.Equal(t, "evt_op_1", first[0].Event)
	require.Equal(t, preference.CustomerID("c-op_1"), first[0].Operation.Customer)
	require.Empty(t, claim(), "while somebody is at it")
	exec(t, conn, `UPDATE webhook_deliveries SET next_at = now() - interval '1 second'`) // the lease has ended
	second := claim()
	require.Len(t, second, 1)

	require.NoError(t, db.CloseDelivery(t.Context(), first[0], ports.DeliveryResult{Code: "timeout"}, time.Now().Add(time.Hour)), "woke up late")
	require.NoError(t, db.CloseDelivery(t.Context(), second[0], ports.DeliveryResult{Status: 200}, time.Time{}))
	list, err := db.ListDeliveries(t.Context(), "we_1", 0, 10)
	require.NoError(t, err)
	require.Equal(t, "delivered", list[0].State)
	require.Equal(t, 1, list[0].Attempts)
	require.Equal(t, 200, list[0].Status)
	n, err := db.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)

	again, err := db.ReplayFrom(t.Context(), "we_1", time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.EqualValues(t, 1, again)
	require.Len(t, claim(), 1)

	other, err := webhook.NewSecret([]byte("another secret of thirty-two byte"))
	require.NoError(t, err)
	e, err := db.RotateSecret(t.Context(), "we_1", other, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, e.Secrets, 2)
	require.Equal(t, other.Reveal(), e.Secrets[0].Reveal())
}

// Every worker looks twice a second. As long as nobody has changed anything that must not cost a commit each time.
func TestLookingForChangesWhereThereAreNoneWritesNothing(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	require.NoError(t, db.CreateEndpoint(t.Context(), newEndpoint(t, "we_1"), 3))
	exec(t, conn, `UPDATE webhook_progress SET settled_until = now(), looked_back = now()`)
	written := func() (by string) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT xmin::text || ' ' || xmax::text FROM webhook_progress`).Scan(&by))
		return by
	}
	before := written()
	more, err := db.HandOut(t.Context(), 10)
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, before, written())
	exec(t, conn, `UPDATE webhook_progress SET settled_until = now() - interval '2 minutes'`)
	before = written()
	_, err = db.HandOut(t.Context(), 10)
	require.NoError(t, err)
	require.NotEqual(t, before, written(), "now and then it is noted, so that there is little to look through")
}
