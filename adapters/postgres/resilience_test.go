package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"accord/adapters/postgres"
	"accord/domain/fault"
	"accord/domain/preference"
	"accord/ports/portstest"
)

// kill ends the sessions of the database with this application name, as a crash of the server would.
func kill(t testing.TB, conn *pgx.Conn, application string) (killed int) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1`, application).Scan(&killed))
	return killed
}

func TestALostConnectionIsTriedAgainOnAFreshAccount(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	r, tries := portstest.Unsubscribe("ada"), 0
	require.NoError(t, db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
		if tries++; tries == 1 {
			require.Positive(t, kill(t, conn, "accord"))
		}
		require.Empty(t, a.Open())
		_, _, err := a.Accept(r, portstest.Noon)
		return err
	}))
	require.Equal(t, 2, tries)
	require.Len(t, chainOf(t, db, "ada"), 1)
}

func TestAConnectionThatIsAlwaysLostStoresNothing(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	err := db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
		kill(t, conn, "accord")
		_, _, err := a.Accept(portstest.Unsubscribe("ada"), portstest.Noon)
		return err
	})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	account, err := db.Load(t.Context(), "ada")
	require.NoError(t, err)
	require.Empty(t, account.Open())
	require.Empty(t, chainOf(t, db, "ada"))
}

func TestWhatIsCommittedIsThereForEveryProcess(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	r := portstest.Unsubscribe("ada")
	portstest.Accept(t, db, "ada", r)
	kill(t, conn, "accord")
	op, err := open(t, url).Operation(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, preference.Accepted, op.Status)
}

// The pool's idle connections are all dead after a restart of the server; callers must not see that.
func TestAfterARestartNobodyNotices(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	var all sync.WaitGroup
	inside := make(chan struct{}, 8)
	leave := make(chan struct{})
	for i := range 8 { // eight connections
		all.Go(func() {
			_ = db.Update(context.Background(), preference.CustomerID(fmt.Sprintf("c%d", i)), "", func(*preference.Account) error {
				inside <- struct{}{}
				<-leave
				return nil
			})
		})
	}
	for range 8 {
		<-inside
	}
	close(leave)
	all.Wait()
	require.GreaterOrEqual(t, kill(t, conn, "accord"), 8)
	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
	_, err := db.Load(t.Context(), "ada")
	require.NoError(t, err)
}

// The server may undo a transaction in favour of another at any time.
func TestAnUndoneTransactionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40001", "40P01"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			url := migrated(t)
			db, conn := open(t, url), connect(t, url)
			exec(t, conn, `CREATE SEQUENCE tries`) // counts on although transactions are undone
			exec(t, conn, `CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'undone' USING ERRCODE = '`+code+`'; END IF; RETURN NEW; END $$`)
			exec(t, conn, `CREATE TRIGGER fail_twice BEFORE INSERT ON operations FOR EACH ROW EXECUTE FUNCTION fail_twice()`)
			r, tries := portstest.Unsubscribe("ada"), 0
			require.NoError(t, db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
				tries++
				_, _, err := a.Accept(r, portstest.Noon)
				return err
			}))
			require.Equal(t, 3, tries)
			require.Len(t, chainOf(t, db, "ada"), 1)

			exec(t, conn, `SELECT setval('tries', 1, false)`)
			exec(t, conn, `ALTER SEQUENCE tries INCREMENT BY -1 MINVALUE -1000`)
			err := db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
				_, _, err := a.Accept(portstest.Unsubscribe("ada"), portstest.Noon)
				return err
			})
			require.Equal(t, fault.Unavailable, fault.KindOf(err), "not for ever")
		})
	}
}

func TestWithoutADatabaseEverythingIsUnavailable(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Config{URL: "postgres://accord:very-secret@127.0.0.1:1/none", Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a")})
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.NotContains(t, err.Error(), "very-secret")
	require.Equal(t, fault.Unavailable, fault.KindOf(postgres.Migrate(t.Context(), "postgres://127.0.0.1:1/none", nil)))
	_, err = postgres.Open(t.Context(), postgres.Config{URL: "postgres://accord:very-secret@host:port/x", Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a")})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "very-secret")
}

func TestAnExhaustedPoolIsUnavailable(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: migrated(t), Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), MaxConns: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Update(t.Context(), "ada", "", func(*preference.Account) error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := db.Load(ctx, "grace")
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.Equal(t, fault.Unavailable, fault.KindOf(db.Ready(ctx)))
		return nil
	}))
	require.NoError(t, db.Ready(t.Context()))
}

// A burst of one customer's changes must leave connections for everybody else.
func TestABurstOfOneCustomerLeavesThePoolToOthers(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: migrated(t), Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), MaxConns: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var burst sync.WaitGroup
	started := make(chan struct{}, 10)
	require.NoError(t, db.Update(t.Context(), "ada", "", func(*preference.Account) error {
		for range 10 {
			burst.Go(func() {
				started <- struct{}{}
				if err := db.Update(context.Background(), "ada", "", func(*preference.Account) error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		for range 10 {
			<-started
		}
		for range 20 {
			portstest.Accept(t, db, "grace", portstest.Unsubscribe("grace"))
		}
		return nil
	}))
	burst.Wait()
}

func TestALockHeldTooLongIsUnavailable(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	setUp := open(t, url)
	portstest.Accept(t, setUp, "ada", portstest.Subscribe("ada"))
	conn := connect(t, url)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM customers WHERE id = 'ada' FOR UPDATE`)
	require.NoError(t, err)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), Timeout: 2 * time.Second})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	err = db.Update(t.Context(), "ada", "", func(*preference.Account) error { t.Error("must not be called"); return nil })
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	f, _ := fault.As(err)
	require.NotContains(t, f.Message, "SELECT")
	require.NoError(t, tx.Rollback(t.Context()))
}

func TestANULCharacterIsTheCallersMistake(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	r := portstest.Unsubscribe("ada")
	r.Origin.RequestID = "a\x00b"
	err := db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
		_, _, err := a.Accept(r, portstest.Noon)
		return err
	})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = db.Operation(t.Context(), "op\x00")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// What was chosen from a catalogue of before is kept.
func TestAChannelThatLeftTheCatalogueIsKept(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	portstest.Apply(t, db, "ada", portstest.Register("ada", "phone", "token-1"))
	change, err := preference.SwitchPush(nil, map[preference.ChannelKey]bool{"promotions": true, "news": true}, nil)
	require.NoError(t, err)
	r := portstest.Unsubscribe("ada")
	r.Change = change
	portstest.Apply(t, db, "ada", r)
	waiting := portstest.Unsubscribe("ada")
	waiting.Change = change
	portstest.Accept(t, db, "ada", waiting)

	smaller, err := preference.NewCatalogue("", preference.Channel{Key: "news"})
	require.NoError(t, err)
	later, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: smaller, Keys: portstest.Keys("a")})
	require.NoError(t, err)
	defer func() { require.NoError(t, later.Close()) }()
	account, err := later.Load(t.Context(), "ada")
	require.NoError(t, err)
	require.True(t, account.Preferences().Channel("news").Enabled)
	portstest.Begin(t, later, waiting.ID) // not valid any more: compensated, not stuck
	portstest.Apply(t, later, "ada", portstest.Unsubscribe("ada"))

	back, err := db.Load(t.Context(), "ada")
	require.NoError(t, err)
	require.True(t, back.Preferences().Channel("promotions").Enabled, "it comes back with its choice")
}

func TestListeningGoesOnAfterItsConnectionBroke(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	here, there, conn := open(t, url), open(t, url), connect(t, url)
	listening := func() bool {
		var n int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'accord-outcomes' AND query LIKE 'LISTEN%' AND state = 'idle'`).Scan(&n))
		return n == 1
	}
	_, stop := here.Watch("op-0")
	defer stop()
	require.Eventually(t, listening, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, kill(t, conn, "accord-outcomes"))
	require.Eventually(t, listening, 20*time.Second, 10*time.Millisecond)
	done, stop := here.Watch("op-1") // not stored, so looking cannot find it
	defer stop()
	there.Announce(t.Context(), preference.Operation{ID: "op-1"})
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("not told")
	}
}

// Not parallel: it counts the process's goroutines, and parallel tests wait until it is done.
func TestCloseLeavesNothingBehind(t *testing.T) {
	url := migrated(t) // starts the servers of this process
	before := goleak.IgnoreCurrent()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a")})
	require.NoError(t, err)
	done, stop := db.Watch("op-1")
	portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
	require.NoError(t, db.Close())
	<-done // told, so that nobody waits for what cannot come
	stop()
	late, _ := db.Watch("op-1")
	<-late
	goleak.VerifyNone(t, before)
}

type lines struct {
	mu  sync.Mutex
	out strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func TestLogsHoldNoValues(t *testing.T) {
	t.Parallel()
	log := &lines{}
	url := migrated(t)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: portstest.Keys("a"), SlowQuery: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	require.NoError(t, err)
	const customer = "ada.lovelace_at_example.org"
	portstest.Apply(t, db, customer, portstest.Register(customer, "phone", "secret-token"))
	_, err = db.Holders(t.Context(), "secret-token", "nobody")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Contains(t, log.out.String(), "FROM customers")
	for _, value := range []string{"ada.lovelace", "secret-token", "0b7f"} {
		require.NotContains(t, log.out.String(), value)
	}
}

// TestACommitThatIsNotAnsweredIsInDoubt: the server may get to it even later, so nobody may be told that nothing was done.
func TestACommitThatIsNotAnsweredIsInDoubt(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"of somebody new": false, "of somebody of whom nothing is under way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated(t)
			db, conn := open(t, url), connect(t, url)
			if known {
				portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
			}
			_, err := conn.Exec(t.Context(), `CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
					BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
				CREATE CONSTRAINT TRIGGER at_the_commit AFTER INSERT ON operations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lose()`)
			require.NoError(t, err)
			err = db.Update(t.Context(), "ada", "", func(a *preference.Account) error {
				_, _, err := a.Accept(portstest.Unsubscribe("ada"), portstest.Noon.Add(time.Minute))
				return err
			})
			f, is := fault.As(err)
			require.True(t, is, err)
			require.Equal(t, fault.Unavailable, f.Kind)
			require.Equal(t, "outcome-unknown", f.Code)
		})
	}
}
