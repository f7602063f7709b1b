package postgres_test

import (
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
	"accord/ports"
	"accord/ports/portstest"
)

// verify gives what is wrong with one chain (of a customer, or by its name), or every chain, as "chain#seq" each once.
// What is wrong with no single entry is left out: see beside.
func verify(t *testing.T, db *postgres.DB, only string) []string {
	t.Helper()
	var found []string
	_, err := db.Verify(t.Context(), only, func(f consent.Finding) {
		if f.Seq != 0 {
			found = append(found, fmt.Sprintf("%s#%d", f.Chain, f.Seq))
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
	_, err := db.Verify(t.Context(), "", func(f consent.Finding) {
		require.Zero(t, f.Seq, f)
		found = append(found, f.String())
	})
	require.NoError(t, err)
	return found
}

// all gives everything that Verify finds in a vault, but that its triggers are off.
func all(t *testing.T, db *postgres.DB) (found []string) {
	t.Helper()
	_, err := db.Verify(t.Context(), "", func(f consent.Finding) {
		if f.Chain != "" {
			found = append(found, f.String())
		}
	})
	require.NoError(t, err)
	return found
}

// nameOf is what a customer's chain is called.
func nameOf(t *testing.T, conn *pgx.Conn, customer string) (chain string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT chain FROM customers WHERE id = $1`, customer).Scan(&chain))
	return chain
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
	require.Regexp(t, `^ch_.*: operation .* is applied, but the ledger has no entry "applied" of it$`, found[0])
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
	for _, table := range []string{"ledger", "erased_chains"} {
		url := migrated(t)
		db, conn := open(t, url), connect(t, url)
		exec(t, conn, fmt.Sprintf(`ALTER TABLE %s ENABLE TRIGGER %s_no_truncate`, table, table)) // no longer ALWAYS
		require.Equal(t, []string{"the ledger is not protected: trigger " + table + "_no_truncate is not always on"}, beside(t, db))
		exec(t, conn, fmt.Sprintf(`DROP TRIGGER %s_no_truncate ON %s`, table, table))
		require.Equal(t, []string{"the ledger is not protected: a trigger of " + table + " is missing"}, beside(t, db))
	}
}

// vault is a database whose owner has taken away everything that keeps the ledger from being changed.
func vault(t *testing.T) (*postgres.DB, *pgx.Conn) {
	t.Helper()
	url := migrated(t)
	conn := connect(t, url)
	for _, table := range []string{"ledger", "erased_chains"} {
		exec(t, conn, `ALTER TABLE `+table+` DISABLE TRIGGER USER`)
	}
	rows, err := conn.Query(t.Context(), `SELECT conrelid::regclass::text, conname FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'c') OR conname IN ('ledger_pk', 'erased_chains_pk')`)
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

// Values that a column is changed to, by its type. c is the column of the row, o the same column of another row of the
// chain, x of a row of somebody else's.
var tampering = map[string][]string{
	"text":                     {`c || ' '`, `''`, `'applied'`, `'requested'`, `'erased'`, `o`, `x`, `upper(c)`},
	"bigint":                   {`c + 100`, `0`, `c - 1`, `-c`},
	"smallint":                 {`1`, `2`, `3`, `0`, `4`},
	"timestamp with time zone": {`c + interval '1 microsecond'`, `'infinity'`, `'-infinity'`, `c - interval '1 year'`},
	"bytea": {`set_byte(c, 0, get_byte(c, 0) # 1)`, `set_byte(c, 20, get_byte(c, 20) # 1)`, `set_byte(c, octet_length(c) - 1, get_byte(c, octet_length(c) - 1) # 128)`,
		`c || '\x00'`, `substr(c, 1, octet_length(c) - 1)`, `''`, `'{}'`, `decode(repeat('00', 32), 'hex')`, `o`, `x`},
}

type column struct{ Name, Type string }

func columnsOf(t *testing.T, conn *pgx.Conn, table string) []column {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT column_name, data_type FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position`, table)
	require.NoError(t, err)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	require.NoError(t, err)
	require.NotEmpty(t, columns)
	return columns
}

// Whatever columns the ledger has or will have: no value of any row can be another one without being found, be the
// customer there, known from before entries were sealed, or erased.
func TestTamperingWithAnyColumnOfAnyRowIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	firstRecipe(t, conn, "early")
	portstest.Apply(t, db, "early", portstest.Unsubscribe("early")) // goes on sealed
	sixEntries(t, db, "ada")
	sixEntries(t, db, "grace")
	sixEntries(t, db, "gone")
	gone := portstest.Erase(t, db, "gone").Chain
	require.Empty(t, all(t, db))
	exec(t, conn, `CREATE TEMP TABLE was AS TABLE ledger`)
	others := nameOf(t, conn, "grace")
	for _, chain := range []string{"early", nameOf(t, conn, "ada"), gone} {
		var n int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM ledger WHERE chain = $1`, chain).Scan(&n))
		tried := 0
		for _, column := range columnsOf(t, conn, "ledger") {
			require.NotEmpty(t, tampering[column.Type], "%s: no other values are known of %s", column.Name, column.Type)
			for _, value := range tampering[column.Type] {
				for _, seq := range []int{0, n / 2, n - 1} {
					what := fmt.Sprintf("%s of %s#%d set to %s", column.Name, chain, seq+1, value)
					tag, err := conn.Exec(t.Context(), `UPDATE ledger l SET `+column.Name+` = t.v FROM (
							SELECT c.c, CAST(`+value+` AS `+column.Type+`) AS v FROM (SELECT `+column.Name+` AS c FROM was WHERE chain = $1 AND seq = $2) c,
							(SELECT `+column.Name+` AS o FROM was WHERE chain = $1 AND seq = 1 + $2 % $3) o,
							(SELECT `+column.Name+` AS x FROM was WHERE chain = $4 AND seq = 1) x) t
						WHERE l.chain = $1 AND l.seq = $2 AND t.v IS DISTINCT FROM t.c`, chain, seq+1, n, others)
					require.NoError(t, err, what)
					if tag.RowsAffected() == 0 { // such as an event that was that already
						continue
					}
					tried++
					require.NotEmpty(t, verify(t, db, chain), what)
					exec(t, conn, `WITH changed AS (DELETE FROM ledger l WHERE NOT EXISTS (SELECT FROM was w WHERE w = l))
						INSERT INTO ledger SELECT * FROM was w WHERE NOT EXISTS (SELECT FROM ledger l WHERE l = w)`)
				}
			}
		}
		require.Greater(t, tried, 100)
		require.Empty(t, verify(t, db, chain))
	}
	require.Empty(t, all(t, db), "all of it was put back")
}

// firstRecipe gives a customer a chain from before entries were sealed.
func firstRecipe(t *testing.T, conn *pgx.Conn, customer string) {
	t.Helper()
	links := portstest.FirstRecipe(t, "../../domain/consent/testdata/chain-v1.json", customer)
	for _, l := range links {
		exec(t, conn, `INSERT INTO ledger (chain, seq, form, operation_id, event, at, body, prev_hash, hash) VALUES ($1, $2, 1, $3, $4, $5, $6, $7, $8)`,
			l.Chain, l.Seq, l.Operation, string(l.Event), l.At, l.Body, l.Prev[:], l.Hash[:])
	}
	last := links[len(links)-1]
	exec(t, conn, `INSERT INTO customers (id, version, state, last_number, turn, run, chain, ledger_seq, ledger_hash, created_at, updated_at)
		VALUES ($1, 0, '{"version": 0, "push": {"enabled": true}, "email": {"status": "unsubscribed"}}', 0, 0, 0, $1, $2, $3, now(), now())`,
		customer, last.Seq, last.Hash[:])
}

func TestTamperingWithWhatIsKeptOfErasedChainsIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	sixEntries(t, db, "ada")
	sixEntries(t, db, "gone")
	portstest.Erase(t, db, "gone")
	exec(t, conn, `CREATE TEMP TABLE was AS TABLE erased_chains`)
	for _, column := range columnsOf(t, conn, "erased_chains") {
		for _, value := range tampering[column.Type] {
			value = strings.NewReplacer("o", "c", "x", "c").Replace(map[bool]string{true: value, false: "c"}[value == "o" || value == "x"])
			tag, err := conn.Exec(t.Context(), `UPDATE erased_chains SET `+column.Name+` = t.v FROM (SELECT c, CAST(`+value+` AS `+column.Type+`) AS v FROM (SELECT `+column.Name+` AS c FROM was) c) t
				WHERE t.v IS DISTINCT FROM t.c`)
			require.NoError(t, err)
			if tag.RowsAffected() > 0 {
				require.NotEmpty(t, all(t, db), "%s set to %s", column.Name, value)
			}
			exec(t, conn, `DELETE FROM erased_chains`)
			exec(t, conn, `INSERT INTO erased_chains SELECT * FROM was`)
		}
	}
	require.Empty(t, all(t, db), "all of it was put back")
}

func TestRemovingSwappingAndInsertingIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	const mine = `chain = 'X' AND `
	const columns = `form, operation_id, event, at, body`
	sixEntries(t, db, "donor")
	donor := nameOf(t, conn, "donor")
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
		{"all removed", []string{`DELETE FROM ledger WHERE chain = 'X'`}, []int{1}},
		{"two swapped", []string{`UPDATE ledger SET seq = CASE seq WHEN 3 THEN 4 ELSE 3 END WHERE ` + mine + `seq IN (3, 4)`}, []int{3, 4, 5}},
		{"removed and closed up", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 3`, `UPDATE ledger SET seq = seq - 1 WHERE ` + mine + `seq > 3`}, []int{3, 4, 5, 6}},
		{"appended", []string{`INSERT INTO ledger SELECT chain, 7, operation_id, event, at, body, hash, hash, form FROM ledger WHERE ` + mine + `seq = 6`}, []int{7}},
		{"inserted in the middle", []string{`UPDATE ledger SET seq = seq + 1 WHERE ` + mine + `seq > 3`,
			`INSERT INTO ledger SELECT chain, 4, operation_id, event, at, body, hash, hash, form FROM ledger WHERE ` + mine + `seq = 3`}, []int{4, 5, 6, 7}},
		{"a copy of an entry", []string{`INSERT INTO ledger SELECT * FROM ledger WHERE ` + mine + `seq = 3`}, []int{3}},
		{"the kept end's seq", []string{`UPDATE customers SET ledger_seq = 5 WHERE chain = 'X'`}, []int{6}},
		{"the kept end's hash", []string{`UPDATE customers SET ledger_hash = decode(repeat('07', 32), 'hex') WHERE chain = 'X'`}, []int{6}},
		{"the account removed", []string{`DELETE FROM customers WHERE chain = 'X'`}, []int{6}},
		{"an entry from somebody else's chain", []string{`DELETE FROM ledger WHERE ` + mine + `seq = 3`,
			`INSERT INTO ledger (chain, seq, ` + columns + `, prev_hash, hash) SELECT 'X', 3, ` + columns + `, prev_hash, hash FROM ledger WHERE chain = 'DONOR' AND seq = 3`}, []int{3, 4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			customer := fmt.Sprintf("customer-%02d", i)
			sixEntries(t, db, preference.CustomerID(customer))
			chain := nameOf(t, conn, customer)
			for _, statement := range test.statements {
				exec(t, conn, strings.NewReplacer("'X'", "'"+chain+"'", "DONOR", donor).Replace(statement))
			}
			want := []string{}
			for _, seq := range test.found {
				want = append(want, fmt.Sprintf("%s#%d", chain, seq))
			}
			require.Equal(t, want, verify(t, db, chain))
			found := verify(t, db, "")
			require.Subset(t, found, want, "among all chains")
			require.False(t, slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, donor) }))
		})
	}
}

// A data key that does not open, or opens something else, shows too: nobody can take away what was said by swapping it.
func TestAKeyThatWasChangedIsFound(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	sixEntries(t, db, "ada")
	sixEntries(t, db, "grace")
	exec(t, conn, `UPDATE customers c SET data_key = o.data_key FROM customers o WHERE c.id = 'ada' AND o.id = 'grace'`)
	require.Contains(t, strings.Join(all(t, db), "\n"), nameOf(t, conn, "ada")+": the key that is kept of it does not open")
	fresh, err := portstest.Keys("a").Wrap(nameOf(t, conn, "ada"), consent.Key{7})
	require.NoError(t, err)
	exec(t, conn, `UPDATE customers SET data_key = $1 WHERE id = 'ada'`, fresh)
	require.Len(t, verify(t, db, "ada"), 6, "none of them opens")
}

// Without the keys that are kept outside, chains are held against their hashes, and that is said.
func TestVerifyWithoutKeys(t *testing.T) {
	t.Parallel()
	url := migrated(t)
	sixEntries(t, open(t, url), "ada")
	for _, keys := range []ports.ChainKeys{nil, portstest.Keys("z")} {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Catalogue: portstest.Catalogue(), Keys: keys})
		require.NoError(t, err)
		verified, err := db.Verify(t.Context(), "", func(f consent.Finding) { t.Error(f) })
		require.NoError(t, err)
		require.Equal(t, ports.Verified{Chains: 1, Entries: 6, Closed: 6}, verified)
		_, err = db.Entries(t.Context(), "ada", 0, 10)
		require.ErrorIs(t, err, ports.ErrKeyMissing)
		err = db.Update(t.Context(), "ada", "", func(*preference.Account) error { t.Error("called"); return nil })
		require.ErrorIs(t, err, ports.ErrKeyMissing)
		require.NoError(t, db.Close())
	}
}

// More chains than are verified at one moment, some without an account before, between and after the others.
func TestVerifyGoesThroughEveryPage(t *testing.T) {
	t.Parallel()
	db, conn := vault(t)
	const customers = 1203
	exec(t, conn, `INSERT INTO customers (id, version, state, last_number, turn, run, chain, ledger_seq, ledger_hash, created_at, updated_at)
		SELECT 'm' || lpad(n::text, 5, '0'), 0, '{"version": 0, "push": {"enabled": true}, "email": {"status": "unsubscribed"}}',
		0, 0, 0, 'm' || lpad(n::text, 5, '0'), 0, decode(repeat('00', 32), 'hex'), now(), now() FROM generate_series(1, $1::int) n`, customers)
	for _, id := range []string{"a", "m00777x", "z"} {
		exec(t, conn, `INSERT INTO customers (id, version, state, last_number, turn, run, chain, ledger_seq, ledger_hash, created_at, updated_at)
			SELECT $1, version, state, 0, 0, 0, $1, 0, ledger_hash, now(), now() FROM customers WHERE id = 'm00001'`, id)
	}
	for _, id := range []preference.CustomerID{"a", "m00499", "m00500", "m00501", "m00777x", "m01203", "z"} {
		portstest.Accept(t, db, id, portstest.Subscribe(id))
	}
	var found []string
	note := func(f consent.Finding) {
		if f.Seq != 0 {
			found = append(found, f.Chain)
		}
	}
	verified, err := db.Verify(t.Context(), "", note)
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, ports.Verified{Chains: 7, Entries: 7}, verified)

	gone := []string{"a", "m00500", "m00777x", "z"}
	exec(t, conn, `DELETE FROM customers WHERE id = ANY($1)`, gone)
	exec(t, conn, `DELETE FROM ledger WHERE chain = 'm01203'`)
	verified, err = db.Verify(t.Context(), "", note)
	require.NoError(t, err)
	slices.Sort(found)
	require.Equal(t, []string{"a", "m00500", "m00777x", "m01203", "z"}, found)
	require.EqualValues(t, 7, verified.Chains)
	require.EqualValues(t, 6, verified.Entries)
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
