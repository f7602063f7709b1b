package postgres_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/engagement"
	"accord/domain/preference"
	"accord/ports/portstest"
)

func TestChangesOfPreferencesAreCounted(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	noon := portstest.Noon
	portstest.Apply(t, db, "ada", portstest.Register("ada", "phone", "token-ada"), switchChannel(t, "ada", "promotions", true), portstest.Subscribe("ada"),
		switchChannel(t, "ada", "promotions", false), switchChannel(t, "ada", "promotions", false))
	portstest.Apply(t, db, "grace", portstest.Register("grace", "phone", "token-grace"), switchChannel(t, "grace", "promotions", true), portstest.Release("grace", "phone"))
	refused := portstest.Subscribe("grace")
	portstest.Accept(t, db, "grace", refused)
	portstest.Begin(t, db, refused.ID)
	portstest.Compensate(t, db, refused.ID)
	portstest.Accept(t, db, "linus", portstest.Subscribe("linus"))

	require.EqualValues(t, 8, countAll(t, db))
	require.Zero(t, countAll(t, db))
	got := counts(t, db, noon, noon, engagement.ByChannel)
	require.Equal(t, engagement.Counts{engagement.CustomerKnown: 2, engagement.CustomerWithDevice: 1, engagement.EmailOn: 1,
		engagement.PushOn: 1, engagement.PushIn: 2}, nonZero(got.Total.Within), "grace has no device left, which is no opt-out")
	require.Equal(t, engagement.Counts{engagement.PushIn: 2, engagement.PushOut: 1}, nonZero(got.Groups["promotions"].Within))
	require.Equal(t, engagement.Counts{engagement.PushOn: 1, engagement.PushIn: 2}, nonZero(got.Groups["order_updates"].Within))
	later := counts(t, db, noon.AddDate(0, 1, 0), noon.AddDate(0, 2, 0), engagement.ByDay)
	require.Empty(t, later.Total.Within)
	require.EqualValues(t, 1, later.Total.Before[engagement.PushOn])
	repaired, err := db.CheckCustomers(t.Context(), 10)
	require.NoError(t, err)
	require.Zero(t, repaired)
}

func switchChannel(t testing.TB, customer preference.CustomerID, channel preference.ChannelKey, on bool) preference.Request {
	t.Helper()
	change, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{channel: on}, nil)
	require.NoError(t, err)
	r := portstest.Subscribe(customer)
	r.Change = change
	return r
}

func nonZero(c engagement.Counts) engagement.Counts {
	out := engagement.Counts{}
	for k, n := range c {
		if n != 0 {
			out[k] = n
		}
	}
	return out
}

// settle stores what an applied operation leaves behind, at a time of the test's choosing.
func settle(t testing.TB, conn *pgx.Conn, number int64, at time.Time, after preference.Preferences) {
	t.Helper()
	state, err := json.Marshal(after.Snapshot())
	require.NoError(t, err)
	customer := string(after.Customer())
	exec(t, conn, `INSERT INTO customers (id, version, state, last_number, turn, run, chain, ledger_seq, ledger_hash, created_at, updated_at)
		VALUES ($1, $2, $3, 0, 0, 0, $1, 0, decode(repeat('00', 32), 'hex'), $4, $4)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state, updated_at = excluded.updated_at`, customer, after.Version(), state, at)
	if number == 0 { // it came by another way
		return
	}
	exec(t, conn, `INSERT INTO operations (id, customer_id, number, kind, status, source, actor_type, actor_id, origin, change, targets, accepted_at, settled_at, before, after, run)
		VALUES ($1, $2, $3, 'withdrawal', 'applied', 'app', 'customer', 'x', '{}', '{}', '{}', $4, $4, '{}', $5, 1)`, portstest.NewID(), customer, number, at, state)
}

func applied(t testing.TB, p preference.Preferences, changes ...preference.Change) preference.Preferences {
	t.Helper()
	for _, c := range changes {
		next, err := p.Apply(c, portstest.Noon, preference.FromCRM)
		require.NoError(t, err)
		p = next
	}
	return p
}

func TestChangesAreCountedOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	conn := connect(t, url)
	processes := []*postgres.DB{open(t, url), open(t, url), open(t, url)}
	const customers = 40
	for i := range customers {
		p := preference.Defaults(preference.CustomerID(fmt.Sprint("customer-", i)), portstest.Catalogue())
		for n, r := range []preference.Request{portstest.Subscribe("x"), portstest.Unsubscribe("x"), portstest.Subscribe("x")} {
			p = applied(t, p, r.Change)
			settle(t, conn, int64(n+1), portstest.Noon.Add(time.Duration(i)*time.Second), p)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	sum := int64(0)
	for _, process := range processes {
		all.Go(func() {
			for done := false; !done; {
				n, _, d, err := process.CountChanges(t.Context(), 7)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := process.CheckCustomers(t.Context(), 11); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sum, done = sum+n, d
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, sum, int64(3*customers))
	require.Equal(t, engagement.Counts{engagement.CustomerKnown: customers, engagement.EmailOn: customers}, nonZero(whole(t, processes[0])))
}

// A change may show long after the time at which it says it settled.
func TestAChangeThatShowsLateIsNotLost(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	require.Zero(t, countAll(t, db))
	p := applied(t, preference.Defaults("ada", portstest.Catalogue()), portstest.Subscribe("ada").Change)
	settle(t, conn, 1, time.Now().Add(-30*time.Second), p)
	require.EqualValues(t, 1, countAll(t, db), "a little late")
	settle(t, conn, 2, time.Now().Add(-5*time.Hour), applied(t, p, portstest.Unsubscribe("ada").Change))
	require.Zero(t, countAll(t, db))
	repaired, err := db.CheckCustomers(t.Context(), 10)
	require.NoError(t, err)
	require.EqualValues(t, 1, repaired, "very late")
	require.Equal(t, engagement.Counts{engagement.CustomerKnown: 1}, nonZero(whole(t, db)))
}

func TestCustomersWhoCameOrWentByAnotherWayAreCounted(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	const customers = 25
	for i := range customers {
		p := preference.Defaults(preference.CustomerID(fmt.Sprintf("customer-%02d", i)), portstest.Catalogue())
		settle(t, conn, 0, portstest.Noon, applied(t, p, portstest.Register("x", "phone", fmt.Sprint("token-", i)).Change, portstest.Subscribe("x").Change))
	}
	check := func() (sum int64) {
		for range 2*customers/4 + 2 { // a round, whatever page it starts with
			n, err := db.CheckCustomers(t.Context(), 4)
			require.NoError(t, err)
			sum += n
		}
		return sum
	}
	require.EqualValues(t, customers, check())
	require.Equal(t, engagement.Counts{engagement.CustomerKnown: customers, engagement.CustomerWithDevice: customers, engagement.EmailOn: customers,
		engagement.PushOn: customers, engagement.PushIn: customers}, nonZero(whole(t, db)))
	exec(t, conn, `DELETE FROM customers WHERE id < 'customer-10' OR id = 'customer-24'`)
	require.EqualValues(t, 11, check())
	got := nonZero(whole(t, db))
	require.Equal(t, engagement.Counts{engagement.CustomerKnown: 14, engagement.CustomerWithDevice: 14, engagement.EmailOn: 14,
		engagement.PushOn: 14, engagement.PushIn: customers}, got, "who is erased has not opted out")
	require.Zero(t, check())
}
