package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"accord/adapters/checkpoint"
	"accord/adapters/devstack/stacktest"
	"accord/adapters/postgres"
	"accord/app/config"
	sealing "accord/app/ledger"
	"accord/domain/consent"
	"accord/domain/preference"
	"accord/ports/portstest"
)

// auditRig is a database with a ledger that is sealed, and copies of the checkpoints in a folder.
type auditRig struct {
	cfg    config.Config
	db     *postgres.DB
	conn   *pgx.Conn
	notary checkpoint.Notary
}

func newAuditRig(t *testing.T) auditRig {
	t.Helper()
	key, err := checkpoint.NewKey("accord.test")
	require.NoError(t, err)
	r := auditRig{}
	r.cfg = config.Load(map[string]string{"ACCORD_LEDGER_KEYS": newKey("test"), "ACCORD_CHECKPOINT_KEY": key, "ACCORD_CHECKPOINT_DIR": filepath.Join(t.TempDir(), "outside"),
		"ACCORD_DATABASE_URL": stacktest.PostgresFrom(t, "accord", func(url string) error { return postgres.Migrate(context.Background(), url, nil) })})
	r.db, err = openLedger(t.Context(), r.cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.db.Close()) })
	r.conn, err = pgx.Connect(t.Context(), r.cfg.DatabaseURL.Reveal())
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.conn.Close(context.Background()) })
	r.notary, err = (&core{cfg: r.cfg}).notary()
	require.NoError(t, err)
	for _, id := range []preference.CustomerID{"ada", "grace"} {
		portstest.Apply(t, r.db, id, portstest.Subscribe(id), portstest.Unsubscribe(id))
		r.seal(t)
	}
	return r
}

func (r auditRig) seal(t *testing.T) {
	t.Helper()
	_, err := (&sealing.Sealer{Seals: r.db, Notary: r.notary, Now: time.Now}).Seal(t.Context())
	require.NoError(t, err)
}

func (r auditRig) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := r.conn.Exec(t.Context(), statement, args...)
	require.NoError(t, err, statement)
}

// verify is the command, and what it prints.
func (r auditRig) verify(t *testing.T, o AuditOptions) (string, error) {
	t.Helper()
	var out strings.Builder
	err := AuditVerify(t.Context(), r.cfg, slog.New(slog.DiscardHandler), o, &out)
	return out.String(), err
}

func TestAuditVerifyChecksSignaturesAndCopies(t *testing.T) {
	t.Parallel()
	r := newAuditRig(t)
	outside := AuditOptions{Checkpoints: r.cfg.CheckpointDir}
	said, err := r.verify(t, outside)
	require.NoError(t, err)
	require.Equal(t, "2 checkpoints over 2 sealed ends of chains; 2 copies from outside\n8 entries in 2 chains (0 of them erased), 0 findings\n", said)

	// The key was changed, and the checkpoints that the old one signed are trusted because its public key is named.
	old := r.notary.Verifier()
	fresh, err := checkpoint.NewKey("accord.test")
	require.NoError(t, err)
	r.cfg.CheckpointKey = config.Secret(fresh)
	said, err = r.verify(t, outside)
	require.ErrorIs(t, err, errTampered)
	require.Contains(t, said, "checkpoint 1 is not signed by a key that is trusted")
	require.Contains(t, said, "000000000002.checkpoint is not signed by a key that is trusted")
	r.cfg.CheckpointVerifiers = []string{old}
	_, err = r.verify(t, outside)
	require.NoError(t, err)
	r.cfg.CheckpointVerifiers, r.cfg.CheckpointKey = nil, ""
	said, err = r.verify(t, AuditOptions{})
	require.NoError(t, err)
	require.Contains(t, said, "no public key is given")
	_, err = r.verify(t, AuditOptions{Keys: []string{old}, Checkpoints: r.cfg.CheckpointDir})
	require.NoError(t, err)
	_, err = r.verify(t, AuditOptions{Only: "nobody"})
	require.ErrorContains(t, err, "there is no ledger")
	_, err = r.verify(t, AuditOptions{Checkpoints: t.TempDir()})
	require.ErrorContains(t, err, "there is no checkpoint in")
}

// What checkpoints say beside what is signed can't be another thing unnoticed either.
func TestAuditVerifyFindsAnyChangedColumnOfACheckpoint(t *testing.T) {
	t.Parallel()
	r := newAuditRig(t)
	r.exec(t, `ALTER TABLE ledger_checkpoints DISABLE TRIGGER USER`)
	r.exec(t, `CREATE TEMP TABLE was AS TABLE ledger_checkpoints`)
	rows, err := r.conn.Query(t.Context(), `SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'ledger_checkpoints' AND table_schema = 'public'`)
	require.NoError(t, err)
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Type string }])
	require.NoError(t, err)
	values := map[string]string{"bigint": "%s + 7", "bytea": "set_byte(%[1]s, 3, get_byte(%[1]s, 3) # 1)", "text": "replace(%s, 'accord', 'Accord')",
		"timestamp with time zone": "%s + interval '1 second'"}
	require.Len(t, columns, 6)
	for _, c := range columns {
		require.NotEmpty(t, values[c.Type], c.Name)
		r.exec(t, `UPDATE ledger_checkpoints SET `+c.Name+` = `+fmt.Sprintf(values[c.Type], c.Name)+` WHERE number = 2`)
		said, err := r.verify(t, AuditOptions{})
		require.ErrorIs(t, err, errTampered)
		require.Contains(t, said, "checkpoint", c.Name)
		r.exec(t, `DELETE FROM ledger_checkpoints`)
		r.exec(t, `INSERT INTO ledger_checkpoints SELECT * FROM was`)
	}
	r.exec(t, `ALTER TABLE ledger_checkpoints ENABLE ALWAYS TRIGGER ledger_checkpoints_append_only`)
	r.exec(t, `ALTER TABLE ledger_checkpoints ENABLE ALWAYS TRIGGER ledger_checkpoints_no_truncate`)
	_, err = r.verify(t, AuditOptions{})
	require.NoError(t, err)
}

// Who owns the database, and even the signing key, can make everything anew; a copy that is elsewhere tells.
func TestAuditVerifyFindsWhatOnlyACopyFromOutsideCanTell(t *testing.T) {
	t.Parallel()
	r := newAuditRig(t)
	for _, table := range []string{"ledger", "ledger_leaves", "ledger_tree", "ledger_checkpoints"} {
		r.exec(t, `ALTER TABLE `+table+` DISABLE TRIGGER USER`)
	}
	for _, statement := range []string{`DELETE FROM ledger_checkpoints`, `DELETE FROM ledger_tree`, `DELETE FROM ledger_leaves`, `DELETE FROM ledger_growth`,
		`DELETE FROM operation_targets`, `DELETE FROM operations WHERE customer_id = 'ada' AND number = 2`,
		`DELETE FROM ledger WHERE chain = (SELECT chain FROM customers WHERE id = 'ada') AND seq > 2`,
		`UPDATE customers c SET ledger_seq = 2, ledger_hash = (SELECT hash FROM ledger l WHERE l.chain = c.chain AND seq = 2), last_number = 1, version = 1 WHERE id = 'ada'`,
		`INSERT INTO ledger_growth SELECT chain, ledger_seq FROM customers`} {
		r.exec(t, statement)
	}
	copies := r.cfg.CheckpointDir
	r.notary.Folder = t.TempDir()
	r.seal(t)
	for _, table := range []string{"ledger", "ledger_leaves", "ledger_tree", "ledger_checkpoints"} {
		for _, trigger := range []string{"_append_only", "_no_truncate"} {
			r.exec(t, `ALTER TABLE `+table+` ENABLE ALWAYS TRIGGER `+table+trigger)
		}
	}
	said, err := r.verify(t, AuditOptions{})
	require.NoError(t, err, said)
	said, err = r.verify(t, AuditOptions{Checkpoints: copies})
	require.ErrorIs(t, err, errTampered)
	require.Contains(t, said, "does not fit the log")
	require.NoError(t, os.RemoveAll(copies))
}

func TestKeysNewPrintsWhatCanBeUsed(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, KeysNew(&out, time.Now()))
	environ := map[string]string{}
	for line := range strings.Lines(out.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "ACCORD_") {
			environ[name] = value
		}
	}
	cfg := config.Load(environ)
	require.NoError(t, cfg.Validate(config.NeedLedgerKeys, config.NeedCheckpointKey))
	notary, err := (&core{cfg: cfg}).notary()
	require.NoError(t, err)
	require.Contains(t, out.String(), notary.Verifier())
	ring, err := ledgerKeys(cfg)
	require.NoError(t, err)
	require.NotNil(t, ring)
}

// A proof is checked without us, says what it proves, and shows any byte that was changed.
func TestAProofIsCheckedOffline(t *testing.T) {
	t.Parallel()
	r := newAuditRig(t)
	portstest.Accept(t, r.db, "ada", portstest.Subscribe("ada"))
	auditor := &sealing.Auditor{Ledger: r.db, Seals: r.db, Proofs: r.db}
	p, err := auditor.Proof(t.Context(), "ada", true)
	require.NoError(t, err)
	none, err := auditor.Proof(t.Context(), "nobody", true)
	require.NoError(t, err)
	require.Empty(t, none.Entries)
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "proof.json")
	check := func(raw []byte, keys ...string) (string, error) {
		require.NoError(t, os.WriteFile(file, raw, 0o600))
		var out strings.Builder
		err := AuditProof(config.Config{}, file, keys, &out)
		return out.String(), err
	}
	said, err := check(raw, r.notary.Verifier())
	require.NoError(t, err, said)
	require.Contains(t, said, "holds the 5 entries of chain ch_")
	require.Contains(t, said, "Entries 1 to 4 were in the ledger")
	require.Contains(t, said, "The last 1 came later and are not sealed yet.")
	require.Contains(t, said, "of a key that you trust")
	said, err = check(raw)
	require.NoError(t, err)
	require.Contains(t, said, "by the key in the file itself")
	stranger, err := checkpoint.NewKey("accord.test")
	require.NoError(t, err)
	other, err := checkpoint.NewSigner(stranger)
	require.NoError(t, err)
	said, err = check(raw, other.Verifier())
	require.ErrorIs(t, err, errProof)
	require.Contains(t, said, "Nothing is proved by this file.")

	var whole any
	require.NoError(t, json.Unmarshal(raw, &whole))
	for i := range raw {
		changed := slices.Clone(raw)
		changed[i] ^= 1
		var is any
		if json.Unmarshal(changed, &is) != nil || reflect.DeepEqual(is, whole) {
			continue
		}
		var read consent.Proof
		if again := json.Unmarshal(changed, &read); again == nil {
			if text, err := json.Marshal(read); err == nil && string(text) == string(raw) {
				continue // it means the same: a name that is read in capitals, too
			}
		}
		proved, err := checkpoint.Check(changed, r.notary.Verifier())
		require.True(t, err != nil || len(proved.Problems) > 0, "byte %d: %s", i, changed[max(0, i-40):min(len(changed), i+40)])
	}
}

// What held at a time, from the ledger alone.
func TestConsentAtATime(t *testing.T) {
	t.Parallel()
	r := newAuditRig(t)
	auditor := &sealing.Auditor{Ledger: r.db, Seals: r.db, Proofs: r.db}
	s, err := auditor.ConsentAt(t.Context(), "ada", portstest.Noon.Add(-time.Second))
	require.NoError(t, err)
	require.Empty(t, s.Facts)
	s, err = auditor.ConsentAt(t.Context(), "ada", portstest.Noon)
	require.NoError(t, err)
	require.EqualValues(t, 3, s.Withheld["email.marketing"].Seq, "asked for in the same moment, and not applied yet")
	s, err = auditor.ConsentAt(t.Context(), "ada", portstest.Noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "unsubscribed", s.Facts["email.marketing"].Value)
	require.Empty(t, s.Withheld)
}
