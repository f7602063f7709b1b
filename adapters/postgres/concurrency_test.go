package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/consent"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// Within one process updates of a customer take turns before they reach the database. Between processes only the row
// lock keeps them apart, from the first change of a customer nobody has heard of on.
func TestProcessesShareOneQueue(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	processes := []portstest.Store{open(t, url), open(t, url), open(t, url), open(t, url)}
	const customers, each = 10, 5
	var all sync.WaitGroup
	for c := range customers {
		customer := preference.CustomerID(fmt.Sprintf("customer-%d", c))
		for _, process := range processes {
			all.Go(func() {
				for range each {
					r := portstest.Unsubscribe(customer)
					err := process.Update(t.Context(), customer, "", func(a *preference.Account) error {
						_, _, err := a.Accept(r, portstest.Noon)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	for c := range customers {
		account, err := processes[0].Load(t.Context(), preference.CustomerID(fmt.Sprintf("customer-%d", c)))
		require.NoError(t, err)
		queue := account.Open()
		require.Len(t, queue, each*len(processes))
		for i, op := range queue {
			require.EqualValues(t, i+1, op.Number)
		}
	}
	require.Empty(t, verify(t, open(t, url), ""))
}

func TestAKeyUsedInTwoProcessesAtOnceGivesOneOperation(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	processes := []portstest.Store{open(t, url), open(t, url)}
	for n := range 10 {
		customer := preference.CustomerID(fmt.Sprintf("customer-%d", n))
		var both sync.WaitGroup
		ids := make([]string, len(processes))
		for i, process := range processes {
			both.Go(func() {
				r := portstest.Subscribe(customer)
				r.Key, r.Fingerprint = "key", "print"
				err := process.Update(t.Context(), customer, r.Key, func(a *preference.Account) error {
					op, _, err := a.Accept(r, portstest.Noon)
					if err == nil {
						ids[i] = op.ID
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		require.Equal(t, ids[0], ids[1])
	}
}

// A compensation is being stored while a step wants to start. The step waits for it, and is refused: nothing may be
// written to a target that the compensation does not know of.
func TestAStepWaitsForACompensationThatIsBeingStored(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, compensating, looking := open(t, url), connect(t, url), connect(t, url)
	r := portstest.Subscribe("ada")
	portstest.Accept(t, db, "ada", r)
	portstest.Begin(t, db, r.ID)
	tx, err := compensating.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `UPDATE operations SET status = 'compensating' WHERE id = $1`, r.ID)
	require.NoError(t, err)

	step := make(chan error, 1)
	go func() {
		_, _, err := db.StartStep(context.Background(), r.ID, ports.TargetStep{Target: preference.CRM, State: ports.TargetApplying})
		step <- err
	}()
	require.Eventually(t, func() bool {
		var waiting bool
		require.NoError(t, looking.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND $1::int = ANY(pg_blocking_pids(pid)))`, int(compensating.PgConn().PID())).Scan(&waiting))
		return waiting || len(step) > 0
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	err = <-step
	require.Equal(t, fault.Conflict, fault.KindOf(err), "%v", err)
}

// What the holder of a turn does is stored without the lock, as long as nobody else has changed the account meanwhile.
func TestAnUpdateThatWasOvertakenIsDoneAgainUnderTheLock(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	here, there := open(t, url), open(t, url)
	first, second := portstest.Unsubscribe("ada"), portstest.Unsubscribe("ada")
	portstest.Accept(t, here, "ada", first)
	var saw []int
	require.NoError(t, here.UpdateOperation(t.Context(), first.ID, func(a *preference.Account, op *preference.Operation) error {
		saw = append(saw, len(a.Open()))
		if len(saw) == 1 {
			portstest.Accept(t, there, "ada", second)
		}
		_, run := a.Turn()
		return a.Begin(op, run, portstest.Noon)
	}))
	require.Equal(t, []int{1, 2}, saw)
	for id, status := range map[string]preference.Status{first.ID: preference.Running, second.ID: preference.Accepted} {
		op, err := here.Operation(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, status, op.Status)
	}
	require.Empty(t, verify(t, here, ""))
}

// Neither is an acceptance under the lock where nothing is under way. Whoever came between is seen, also when nothing is
// open any more, and when the customer has been forgotten.
func TestAnAcceptanceThatWasOvertakenIsDoneAgainUnderTheLock(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		meanwhile func(*testing.T, *postgres.DB)
		saw       []int64 // the last operation's number
	}{
		"by one that is open":    {func(t *testing.T, db *postgres.DB) { portstest.Accept(t, db, "ada", portstest.Unsubscribe("ada")) }, []int64{1, 2}},
		"by one that is applied": {func(t *testing.T, db *postgres.DB) { portstest.Apply(t, db, "ada", portstest.Unsubscribe("ada")) }, []int64{1, 2}},
		"by an erasure":          {func(t *testing.T, db *postgres.DB) { portstest.Erase(t, db, "ada") }, []int64{1, 0}},
		"by nobody":              {func(*testing.T, *postgres.DB) {}, []int64{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated(t)
			here, there := open(t, url), open(t, url)
			portstest.Apply(t, here, "ada", portstest.Subscribe("ada"))
			var saw []int64
			require.NoError(t, here.Update(t.Context(), "ada", "", func(a *preference.Account) error {
				saw = append(saw, a.Standing().LastNumber)
				if len(saw) == 1 {
					tc.meanwhile(t, there)
				}
				_, _, err := a.Accept(portstest.Unsubscribe("ada"), portstest.Noon)
				return err
			}))
			require.Equal(t, tc.saw, saw)
			now, err := there.Load(t.Context(), "ada")
			require.NoError(t, err)
			require.Equal(t, saw[len(saw)-1]+1, now.Standing().LastNumber)
			require.Empty(t, verify(t, here, ""))
		})
	}
}

// An operator's decision that is taken leaves no trace in the ledger, and must be noticed all the same.
func TestAnUpdateIsOvertakenByOneThatAddsNothingToTheLedger(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	here, there := open(t, url), open(t, url)
	r := portstest.Unsubscribe("ada")
	portstest.Accept(t, here, "ada", r)
	portstest.Begin(t, here, r.ID)
	portstest.Park(t, here, r.ID)
	require.NoError(t, here.UpdateOperation(t.Context(), r.ID, func(a *preference.Account, op *preference.Operation) error {
		return a.Decide(op, preference.RetryIt, consent.Actor{Type: "operator", ID: "support"}, portstest.Noon)
	}))
	take := func(found *[]preference.Status, meanwhile func()) func(*preference.Account, *preference.Operation) error {
		return func(a *preference.Account, op *preference.Operation) error {
			*found = append(*found, op.Status)
			a.TakeDecision(op)
			if len(*found) == 1 {
				meanwhile()
			}
			return nil
		}
	}
	var mine, theirs []preference.Status
	require.NoError(t, here.UpdateOperation(t.Context(), r.ID, take(&mine, func() {
		require.NoError(t, there.UpdateOperation(t.Context(), r.ID, take(&theirs, func() {})))
	})))
	require.Equal(t, []preference.Status{preference.NeedsAttention}, theirs)
	require.Equal(t, []preference.Status{preference.NeedsAttention, preference.Running}, mine, "it was taken meanwhile")
}
