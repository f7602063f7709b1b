package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/postgres"
	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports/portstest"
)

// verify gives what is wrong with one customer's chain, or every chain, as "customer#seq" each once. What is wrong with
// no single entry is left out: see beside.
func verify(t *testing.T, db *postgres.DB, customer preference.CustomerID) []string {
	t.Helper()
	var found []string
	_, _, err := db.Verify(t.Context(), customer, func(f consent.Finding) {
		if f.Seq != 0 {
			found = append(found, fmt.Sprintf("%s#%d", f.Customer, f.Seq))
		}
	})
	require.NoError(t, err)
	slices.Sort(found)
	return slices.Compact(found)
}

// beside gives what Verify finds wrong with no single entry.
func beside(t *testing.T, db *postgres.DB) []string {
	t.Helper()
	var found []string
	_, _, err := db.Verify(t.Context(), "", func(f consent.Finding) {
		require.Zero(t, f.Seq, f)
		found = append(found, f.String())
	})
	require.NoError(t, err)
	return found
}

func TestAChainCutOffTogetherWithItsHeadIsFound(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	sixEntries(t, db, "ada")
	require.Empty(t, beside(t, db))
	exec(t, conn, `ALTER TABLE ledger DISABLE TRIGGER USER`)
	exec(t, conn, `DELETE FROM ledger WHERE seq = 6`)
	exec(t, conn, `UPDATE customers SET ledger_seq = 5, ledger_hash = (SELECT hash FROM ledger WHERE seq = 5)`)
	for _, trigger := range []string{"ledger_append_only", "ledger_no_truncate"} {
		exec(t, conn, `ALTER TABLE ledger ENABLE ALWAYS TRIGGER `+trigger)
	}
	found := beside(t, db)
	require.Len(t, found, 1)
	require.Regexp(t, `^ada: operation .* is applied, but the ledger has no entry "applied" of it$`, found[0])
}

func TestAStatusThatTheLedgerDoesNotKnowIsFound(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	sixEntries(t, db, "ada")
	exec(t, conn, `UPDATE operations SET status = 'compensated' WHERE number = 2`)
	found := beside(t, db)
	require.Len(t, found, 1)
	require.Contains(t, found[0], `is compensated, but the ledger has no entry "compensated"`)
}

func TestALedgerLeftOpenToChangesIsFound(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	db, conn := open(t, url), connect(t, url)
	exec(t, conn, `ALTER TABLE ledger ENABLE TRIGGER ledger_no_truncate`) // no longer ALWAYS
	require.Equal(t, []string{"the ledger is not protected: trigger ledger_no_truncate is not always on"}, beside(t, db))
	exec(t, conn, `DROP TRIGGER ledger_no_truncate ON ledger`)
	require.Equal(t, []string{"the ledger is not protected: a trigger is missing"}, beside(t, db))
}

// vault is a database whose owner has taken away everything that keeps the ledger from being changed.
func vault(t *testing.T) (*postgres.DB, *pgx.Conn) {
	t.Helper()
	url := migrated(t)
	conn := connect(t, url)
	exec(t, conn, `ALTER TABLE ledger DISABLE TRIGGER USER`)
	rows, err := conn.Query(t.Context(), `SELECT conrelid::regclass::text, conname FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'c') OR conname = 'ledger_pk'`)
	require.NoError(t, err)
	constraints, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Table, Name string }])
	require.NoError(t, err)
	for _, c := range constraints {
		exec(t, conn, `ALTER TABLE `+c.Table+` DROP CONSTRAINT `+c.Name)
	}
	return open(t, url), conn
}

// sixEntries makes a chain of three changes.
func sixEntries(t *testing.T, db *postgres.DB, customer preference.CustomerID) {
	t.Helper()
	portstest.Apply(t, db, customer, portstest.Subscribe(customer), portstest.Unsubscribe(customer), portstest.Subscribe(customer))
}

// Values that each column is changed to, several where one kind of change might slip through.
var columnTampering = map[string][]string{
	"customer_id":  {`'mallory'`},
	"seq":          {`seq + 100`, `0`, `seq - 1`},
	"operation_id": {`'another'`, `operation_id || ' '`},
	"event":        {`'applied'`, `'requested'`, `''`},
	"at":           {`at + interval '1 microsecond'`, `'infinity'`, `at - interval '1 year'`},
	"body":         {`convert_to(replace(convert_from(body, 'UTF8'), 'email', 'Email'), 'UTF8')`, `body || ' '`, `''`, `'{}'`},
	"prev_hash":    {`decode(repeat('00', 32), 'hex')`, `hash`, `prev_hash || '\x00'`, `''`},
	"hash":         {`decode(repeat('00', 32), 'hex')`, `prev_hash`, `hash || '\x00'`, `''`},
}

func TestTamperingWithAnyColumnIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	rows, err := conn.Query(t.Context(), `SELECT attname FROM pg_attribute WHERE attrelid = 'ledger'::regclass AND attnum > 0 AND NOT attisdropped`)
	require.NoError(t, err)
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	n := 0
	for _, column := range columns {
		require.NotEmpty(t, columnTampering[column], "column %s is not tried", column)
		for _, value := range columnTampering[column] {
			for _, seq := range []int{1, 3, 6} {
				n++
				customer := fmt.Sprintf("customer-%d", n)
				what := fmt.Sprintf("%s of #%d set to %s", column, seq, value)
				sixEntries(t, db, preference.CustomerID(customer))
				require.Empty(t, verify(t, db, preference.CustomerID(customer)))
				var changed bool
				require.NoError(t, conn.QueryRow(t.Context(), `WITH was AS (SELECT * FROM ledger WHERE customer_id = $1 AND seq = $2)
					UPDATE ledger l SET `+column+` = `+qualify(value)+` FROM was WHERE l.customer_id = was.customer_id AND l.seq = was.seq
					RETURNING l.`+column+` IS DISTINCT FROM was.`+column, customer, seq).Scan(&changed), what)
				found := verify(t, db, preference.CustomerID(customer))
				if !changed { // such as an event that was that already, or the hash before the first
					require.Empty(t, found, what)
					continue
				}
				require.NotEmpty(t, found, what)
				if column != "seq" { // a changed seq shows where it is missing, and where it is
					require.Equal(t, fmt.Sprintf("%s#%d", customer, seq), found[0], what)
				}
			}
		}
	}
	require.Contains(t, strings.Join(verify(t, db, ""), " "), "mallory#3", "entries moved to somebody without an account")
}

// qualify makes column names in a value refer to the tampered row.
func qualify(value string) string {
	for _, column := range []string{"prev_hash", "operation_id", "seq", "body", "at "} {
		value = strings.ReplaceAll(value, column, "l."+column)
	}
	if value == "hash" || strings.HasPrefix(value, "hash ") {
		value = "l." + value
	}
	return value
}

func TestRemovingSwappingAndInsertingIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	const mine = `customer_id = 'X' AND `
	for i, test := range []struct {
		name       string
		statements []string
		found      []int // seqs, in order
	}{
		{"first removed", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 1`}, []int{1}},
		{"middle removed", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 3`}, []int{3}},
		{"two removed", []string{`DELETE FROM ledger WHERE ` + mine + `seq IN (2, 5)`}, []int{2, 5}},
		{"last removed", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 6`}, []int{6}},
		{"end removed", []string{`DELETE FROM ledger WHERE ` + mine + `seq > 3`}, []int{4}},
		{"all removed", []string{`DELETE FROM ledger WHERE customer_id = 'X'`}, []int{1}},
		{"two swapped", []string{`UPDATE ledger SET seq = CASE seq WHEN 3 THEN 4 ELSE 3 END WHERE ` + mine + `seq IN (3, 4)`}, []int{3, 4, 5}},
		{"removed and closed up", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 3`, `UPDATE ledger SET seq = seq - 1 WHERE ` + mine + `seq > 3`}, []int{3, 4, 5, 6}},
		{"appended", []string{`INSERT INTO ledger SELECT customer_id, 7, operation_id, event, at, body, hash, hash FROM ledger WHERE ` + mine + `seq = 6`}, []int{7}},
		{"inserted in the middle", []string{`UPDATE ledger SET seq = seq + 1 WHERE ` + mine + `seq > 3`,
			`INSERT INTO ledger SELECT customer_id, 4, operation_id, event, at, body, hash, hash FROM ledger WHERE ` + mine + `seq = 3`}, []int{4, 5, 6, 7}},
		{"a copy of an entry", []string{`INSERT INTO ledger SELECT * FROM ledger WHERE ` + mine + `seq = 3`}, []int{3}},
		{"the kept end's seq", []string{`UPDATE customers SET ledger_seq = 5 WHERE id = 'X'`}, []int{6}},
		{"the kept end's hash", []string{`UPDATE customers SET ledger_hash = decode(repeat('07', 32), 'hex') WHERE id = 'X'`}, []int{6}},
		{"the account removed", []string{`DELETE FROM customers WHERE id = 'X'`}, []int{6}},
		{"an entry from somebody else's chain", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 3`,
			`INSERT INTO ledger SELECT 'X', 3, operation_id, event, at, body, prev_hash, hash FROM ledger WHERE customer_id = 'donor' AND seq = 3`}, []int{3, 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if i == 0 {
				sixEntries(t, db, "donor")
			}
			customer := fmt.Sprintf("customer-%02d", i)
			sixEntries(t, db, preference.CustomerID(customer))
			for _, statement := range test.statements {
				exec(t, conn, strings.ReplaceAll(statement, "'X'", "'"+customer+"'"))
			}
			want := []string{}
			for _, seq := range test.found {
				want = append(want, fmt.Sprintf("%s#%d", customer, seq))
			}
			require.Equal(t, want, verify(t, db, preference.CustomerID(customer)))
			all := verify(t, db, "")
			require.Subset(t, all, want, "among all chains")
			require.False(t, slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, "donor") }))
		})
	}
}

// More chains than are verified at one moment, some without an account before, between and after the others.
func TestVerifyGoesThroughEveryPage(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	const customers = 1203
	exec(t, conn, `INSERT INTO customers SELECT 'm' || lpad(n::text, 5, '0'), 0, '{"version": 0, "push": {"enabled": true}, "email": {"status": "unsubscribed"}}',
		0, 0, 0, NULL, NULL, 0, decode(repeat('00', 32), 'hex'), now(), now() FROM generate_series(1, $1::int) n`, customers)
	for _, id := range []preference.CustomerID{"a", "m00499", "m00500", "m00501", "m00777x", "m01203", "z"} {
		portstest.Accept(t, db, id, portstest.Subscribe(id))
	}
	var found []string
	note := func(f consent.Finding) {
		if f.Seq != 0 {
			found = append(found, f.Customer)
		}
	}
	chains, entries, err := db.Verify(t.Context(), "", note)
	require.NoError(t, err)
	require.Empty(t, found)
	require.EqualValues(t, 7, chains)
	require.EqualValues(t, 7, entries)

	gone := []string{"a", "m00500", "m00777x", "z"}
	exec(t, conn, `DELETE FROM customers WHERE id = ANY($1)`, gone)
	exec(t, conn, `DELETE FROM ledger WHERE customer_id = 'm01203'`)
	chains, entries, err = db.Verify(t.Context(), "", note)
	require.NoError(t, err)
	slices.SortFunc(found, cmp.Compare[string])
	require.Equal(t, []string{"a", "m00500", "m00777x", "m01203", "z"}, found)
	require.EqualValues(t, 7, chains)
	require.EqualValues(t, 6, entries)
}

func TestVerifyMayRunBesideChanges(t *testing.T) {
	t.Parallel()
	db := open(t, migrated(t))
	ctx, cancel := context.WithCancel(t.Context())
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for ctx.Err() == nil {
			portstest.Apply(t, db, "ada", portstest.Subscribe("ada"))
		}
	}()
	for range 20 {
		require.Empty(t, verify(t, db, ""))
	}
	cancel()
	<-writing
}
