package postgres_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"accord/adapters/postgres"
	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports"
	"accord/ports/portstest"
)

// signed stands in for a signature: these tests are about what is signed.
func signed(size int64, root consent.Hash, _ time.Time) (note, verifier string, err error) {
	return fmt.Sprintf("%d %x", size, root), "v", nil
}

// seal makes checkpoints of everything, and answers them.
func seal(t testing.TB, db *postgres.DB, limit int) (all []ports.SealedCheckpoint) {
	t.Helper()
	for more := true; more; {
		c, again, err := db.Seal(t.Context(), limit, portstest.Noon, signed)
		require.NoError(t, err)
		if more = again; c != nil {
			all = append(all, *c)
		}
	}
	return all
}

func claimsOf(all []ports.SealedCheckpoint) (out []ports.Claim) {
	for _, c := range all {
		out = append(out, ports.Claim{Where: fmt.Sprint("checkpoint ", c.Number), Size: c.Size, Root: c.Root})
	}
	return out
}

// unsound gives what VerifySeals finds, with the store's own checkpoints and some more.
func unsound(t testing.TB, db *postgres.DB, outside ...ports.SealedCheckpoint) (found []string) {
	t.Helper()
	stored, err := db.Checkpoints(t.Context(), 0, 1000)
	require.NoError(t, err)
	claims := claimsOf(stored)
	for _, c := range claimsOf(outside) {
		c.Where = "the copy of " + c.Where
		claims = append(claims, c)
	}
	_, err = db.VerifySeals(t.Context(), claims, func(f consent.Finding) { found = append(found, f.String()) })
	require.NoError(t, err)
	return found
}

func TestWhatHasGrownIsSealed(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	require.Empty(t, seal(t, db, 100), "nothing has grown")
	sixEntries(t, db, "ada")
	sixEntries(t, db, "grace")
	state, err := db.SealState(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.SealState{Unsealed: 12}, state)
	first := seal(t, db, 100)
	require.Len(t, first, 1)
	require.EqualValues(t, 2, first[0].Size, "the end of each chain")
	require.Empty(t, seal(t, db, 100), "again")
	portstest.Accept(t, db, "ada", portstest.Subscribe("ada"))
	portstest.Erase(t, db, "grace")
	require.Empty(t, unsound(t, db), "what waits to be sealed is no fault")
	second := seal(t, db, 1)
	require.Len(t, second, 3, "as many as the limit makes")
	require.Empty(t, unsound(t, db, append(first, second...)...))
	state, err = db.SealState(t.Context())
	require.NoError(t, err)
	require.Equal(t, ports.SealState{Last: portstest.Noon}, state)

	// The root is that of RFC 6962 over the leaves, by the library's own account.
	rows, err := conn.Query(t.Context(), `SELECT index, chain, seq, hash FROM ledger_leaves ORDER BY index`)
	require.NoError(t, err)
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = hashes[x]
		}
		return out, nil
	})
	for rows.Next() {
		var l consent.Leaf
		var hash []byte
		require.NoError(t, rows.Scan(&l.Index, &l.Chain, &l.Seq, &hash))
		copy(l.Hash[:], hash)
		more, err := tlog.StoredHashes(l.Index, l.Record(), reader)
		require.NoError(t, err)
		hashes = append(hashes, more...)
	}
	require.NoError(t, rows.Err())
	for _, c := range append(first, second...) {
		root, err := tlog.TreeHash(c.Size, reader)
		require.NoError(t, err)
		require.Equal(t, tlog.Hash(c.Root), root)
	}
}

// A transaction that is open while others commit and are sealed is not passed over.
func TestALateTransactionIsSealedByTheNext(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db := open(t, url)
	late := make(chan struct{})
	in := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		var once sync.Once
		r := portstest.Subscribe("late")
		if err := db.Update(t.Context(), "late", "", func(a *preference.Account) error {
			once.Do(func() { close(in); <-late })
			_, _, err := a.Accept(r, portstest.Noon)
			return err
		}); err != nil {
			t.Error(err)
		}
	})
	<-in
	portstest.Accept(t, db, "ada", portstest.Subscribe("ada"))
	require.EqualValues(t, 1, seal(t, db, 100)[0].Size)
	close(late)
	done.Wait()
	require.EqualValues(t, 2, seal(t, db, 100)[0].Size)
	require.Empty(t, unsound(t, db))
}

func TestSealingBesideChangesAndItselfMissesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	var writers, sealers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 3 {
		sealers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, err := db.Seal(t.Context(), 1+i*3, portstest.Noon, signed); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 4 {
		writers.Go(func() {
			for n := range 15 {
				id := preference.CustomerID(fmt.Sprintf("customer-%d-%d", i, n%4))
				portstest.Apply(t, db, id, portstest.Subscribe(id))
			}
		})
	}
	writers.Wait()
	close(stop)
	sealers.Wait()
	seal(t, db, 10)
	require.Empty(t, unsound(t, db))
	require.Empty(t, verify(t, db, ""))
}

func TestWhatIsNotSignedIsNotSealed(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	portstest.Accept(t, db, "ada", portstest.Subscribe("ada"))
	broken := errors.New("no key")
	_, _, err := db.Seal(t.Context(), 10, portstest.Noon, func(int64, consent.Hash, time.Time) (string, string, error) { return "", "", broken })
	require.ErrorIs(t, err, broken)
	require.Len(t, seal(t, db, 10), 1, "it is sealed when it can be")
}

// owner is somebody who owns the database, and the key of the ledger's keys as well: everything but what is kept outside.
func owner(t *testing.T) (*postgres.DB, *pgx.Conn, []ports.SealedCheckpoint) {
	t.Helper()
	db, conn := vault(t)
	for _, table := range []string{"ledger_leaves", "ledger_tree", "ledger_checkpoints"} {
		exec(t, conn, `ALTER TABLE `+table+` DISABLE TRIGGER USER`)
	}
	sixEntries(t, db, "ada")
	sixEntries(t, db, "grace")
	outside := seal(t, db, 100)
	portstest.Apply(t, db, "ada", portstest.Unsubscribe("ada"))
	outside = append(outside, seal(t, db, 100)...)
	require.Empty(t, unsound(t, db, outside...))
	return db, conn, outside
}

// rewrite makes the whole chain anew with another content, by the recipe and under the chain's own key, with head and all.
func rewrite(t *testing.T, conn *pgx.Conn, customer string) {
	t.Helper()
	var name string
	var dataKey []byte
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT chain, data_key FROM customers WHERE id = $1`, customer).Scan(&name, &dataKey))
	key, err := portstest.Keys("a").Unwrap(name, dataKey)
	require.NoError(t, err)
	rows, err := conn.Query(t.Context(), `SELECT seq, form, operation_id, event, at, body FROM ledger WHERE chain = $1 ORDER BY seq`, name)
	require.NoError(t, err)
	links, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l consent.Link, err error) {
		l.Chain = name
		return l, row.Scan(&l.Seq, &l.Form, &l.Operation, &l.Event, &l.At, &l.Body)
	})
	require.NoError(t, err)
	chain := consent.Chain{ID: name, Key: key}
	for _, l := range links {
		e, err := l.Read(key)
		require.NoError(t, err)
		e.Actor.ID = "somebody else"
		var forged consent.Link
		forged, chain, err = chain.Append(e)
		require.NoError(t, err)
		exec(t, conn, `UPDATE ledger SET body = $3, prev_hash = $4, hash = $5 WHERE chain = $1 AND seq = $2`, name, l.Seq, forged.Body, forged.Prev[:], forged.Hash[:])
	}
	exec(t, conn, `UPDATE customers SET ledger_hash = $2 WHERE chain = $1`, name, chain.Head.Hash[:])
}

// reseal makes the whole log anew over what the ledger says now.
func reseal(t *testing.T, db *postgres.DB, conn *pgx.Conn) {
	t.Helper()
	for _, statement := range []string{`DELETE FROM ledger_leaves`, `DELETE FROM ledger_tree`, `DELETE FROM ledger_checkpoints`, `DELETE FROM ledger_growth`,
		`INSERT INTO ledger_growth SELECT chain, ledger_seq FROM customers`} {
		exec(t, conn, statement)
	}
	seal(t, db, 1) // as many checkpoints as there were
}

// The attack that a chain alone can't show: everything is made anew, consistently.
func TestAChainThatIsRewrittenWholeIsFound(t *testing.T) {
	t.Parallel()
	db, conn, outside := owner(t)
	rewrite(t, conn, "ada")
	require.Empty(t, all(t, db), "by itself the chain is whole: every hash, the head, the operations")
	found := strings.Join(unsound(t, db), "\n")
	require.Contains(t, found, "was sealed with another hash: it was replaced since")

	// The leaves with it: then no root fits any more.
	exec(t, conn, `UPDATE ledger_leaves s SET hash = l.hash FROM ledger l WHERE l.chain = s.chain AND l.seq = s.seq`)
	require.Contains(t, strings.Join(unsound(t, db), "\n"), "checkpoint 1 does not fit the log")

	// And the whole log with its checkpoints: what is left is what somebody has kept outside.
	reseal(t, db, conn)
	require.Empty(t, unsound(t, db))
	found = strings.Join(unsound(t, db, outside...), "\n")
	require.Contains(t, found, "the copy of checkpoint 1 does not fit the log")
}

func TestAnEndThatIsRolledBackIsFound(t *testing.T) {
	t.Parallel()
	db, conn, outside := owner(t)
	name := nameOf(t, conn, "ada")
	for _, statement := range []string{
		`DELETE FROM ledger WHERE chain = '` + name + `' AND seq > 6`,
		`UPDATE customers SET ledger_seq = 6, last_number = 3, version = 3, ledger_hash = (SELECT hash FROM ledger WHERE chain = '` + name + `' AND seq = 6) WHERE id = 'ada'`,
		`DELETE FROM operations WHERE customer_id = 'ada' AND number > 3`,
	} {
		exec(t, conn, statement)
	}
	require.Empty(t, all(t, db), "chain, head and operations agree")
	found := strings.Join(unsound(t, db), "\n")
	require.Contains(t, found, name+" #8: was sealed, and is in the ledger no more")
	require.Contains(t, found, name+" #8: was sealed, but the chain ends before it")

	// With the last checkpoint and its leaf gone as well, the database is as it was before.
	for _, statement := range []string{`DELETE FROM ledger_leaves WHERE index >= 2`, `DELETE FROM ledger_tree WHERE index >= 3`, `DELETE FROM ledger_checkpoints WHERE number > 1`} {
		exec(t, conn, statement)
	}
	require.Empty(t, unsound(t, db))
	require.Contains(t, strings.Join(unsound(t, db, outside...), "\n"), "the copy of checkpoint 2 is of a log with 3 leaves, but this one has 2: its end was cut off")
}

// A customer who is made to disappear with everything, and one whose growth is hidden from the next checkpoint.
func TestWhoDisappearsOrHidesIsFound(t *testing.T) {
	t.Parallel()
	db, conn, outside := owner(t)
	for _, statement := range []string{`DELETE FROM operations WHERE customer_id = 'grace'`, `DELETE FROM ledger WHERE chain = (SELECT chain FROM customers WHERE id = 'grace')`,
		`DELETE FROM customers WHERE id = 'grace'`} {
		exec(t, conn, statement)
	}
	require.Empty(t, all(t, db))
	require.Contains(t, strings.Join(unsound(t, db, outside...), "\n"), "#6: was sealed, and is in the ledger no more")

	portstest.Accept(t, db, "heidi", portstest.Subscribe("heidi"))
	exec(t, conn, `DELETE FROM ledger_growth`)
	require.Contains(t, strings.Join(unsound(t, db), "\n"), nameOf(t, conn, "heidi")+" #1: is not sealed, and does not wait to be")
}

// No value of any row of the log can be another one without being found. What checkpoints say of themselves beside their
// root is held against what is signed, by who has the key.
func TestTamperingWithAnyColumnOfTheLogIsFound(t *testing.T) {
	t.Parallel()
	db, conn, outside := owner(t)
	elsewhere := map[string][]string{"ledger_checkpoints": {"note", "verifier", "sealed_at"}, "ledger_tree": {"index", "hash"}}
	for _, table := range []string{"ledger_leaves", "ledger_checkpoints"} {
		exec(t, conn, `CREATE TEMP TABLE was_`+table+` AS TABLE `+table)
		for _, c := range columnsOf(t, conn, table) {
			if slices.Contains(elsewhere[table], c.Name) {
				continue
			}
			require.NotEmpty(t, tampering[c.Type])
			for _, value := range tampering[c.Type] {
				if value == "o" || value == "x" {
					continue
				}
				tag, err := conn.Exec(t.Context(), `UPDATE `+table+` SET `+c.Name+` = t.v FROM (SELECT c, w, CAST(`+value+` AS `+c.Type+`) AS v
					FROM (SELECT `+c.Name+` AS c, w FROM was_`+table+` w LIMIT 1) c) t WHERE `+table+`.`+c.Name+` = t.c AND t.v IS DISTINCT FROM t.c`)
				if err != nil { // two of the same
					continue
				}
				if tag.RowsAffected() > 0 {
					require.NotEmpty(t, unsound(t, db, outside...), "%s.%s set to %s", table, c.Name, value)
				}
				exec(t, conn, `DELETE FROM `+table)
				exec(t, conn, `INSERT INTO `+table+` SELECT * FROM was_`+table)
			}
		}
	}
	require.Empty(t, unsound(t, db, outside...))
}

// The edge of a tree gives the root that the library gives, whatever its size.
func TestRootsOfAnySize(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	var outside []ports.SealedCheckpoint
	for n := range 23 {
		for range 1 + rand.IntN(3) {
			id := preference.CustomerID(fmt.Sprint("customer-", n%5))
			portstest.Accept(t, db, id, portstest.Unsubscribe(id))
		}
		outside = append(outside, seal(t, db, 2)...)
	}
	require.Greater(t, len(outside), 20)
	require.Empty(t, unsound(t, db, outside...))
}
