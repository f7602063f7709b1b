package compose

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"accord/adapters/checkpoint"
	"accord/adapters/keyring"
	"accord/adapters/temporal"
	"accord/app/config"
	"accord/domain/preference"
	"accord/ports"
)

// temporalKeys are ACCORD_TEMPORAL_KEYS for the adapter.
func temporalKeys(cfg config.Config) ([]temporal.Key, error) {
	given, err := cfg.EncryptionKeys()
	if err != nil {
		return nil, fmt.Errorf("ACCORD_TEMPORAL_KEYS %w", err)
	}
	keys := make([]temporal.Key, len(given))
	for i, k := range given {
		keys[i] = temporal.Key{ID: k.ID, Secret: k.Secret}
	}
	return keys, nil
}

// ledgerKeys are ACCORD_LEDGER_KEYS as a ring, nil when none is given.
func ledgerKeys(cfg config.Config) (ports.ChainKeys, error) {
	given, err := cfg.KeysOfLedger()
	if err != nil {
		return nil, fmt.Errorf("ACCORD_LEDGER_KEYS %w", err)
	}
	if len(given) == 0 {
		return nil, nil
	}
	keys := make([]keyring.Key, len(given))
	for i, k := range given {
		keys[i] = keyring.Key{ID: k.ID, Secret: k.Secret}
	}
	return keyring.New(keys...)
}

// Files where the development stack keeps the keys that it makes for itself.
const (
	devTemporalKeysFile = "temporal-keys"
	devLedgerKeysFile   = "ledger-keys"
	devCheckpointFile   = "checkpoint-key"
	devCheckpoints      = "checkpoints"
)

func newKey(name string) string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return name + ":" + base64.StdEncoding.EncodeToString(secret)
}

// devSecret reads a secret of the development stack, or makes it.
func devSecret(stateDir, file string, fresh func() (string, error)) (config.Secret, error) {
	path := filepath.Join(stateDir, file)
	kept, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return config.Secret(strings.TrimSpace(string(kept))), err
	}
	text, err := fresh()
	if err != nil {
		return "", err
	}
	draft, err := os.CreateTemp(stateDir, file+".*") // for its owner alone
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.WriteString(text + "\n")
	if err = errors.Join(err, draft.Close()); err != nil {
		return "", err
	}
	// Whole or not at all: a key that is half written would be lost with the next start.
	return config.Secret(text), os.Rename(draft.Name(), path)
}

// devSecrets fills in what is not set with secrets of the development stack's own.
func devSecrets(cfg *config.Config) error {
	for _, s := range []struct {
		setting *config.Secret
		file    string
		fresh   func() (string, error)
	}{
		{&cfg.TemporalKeys, devTemporalKeysFile, func() (string, error) { return newKey("dev"), nil }},
		{&cfg.LedgerKeys, devLedgerKeysFile, func() (string, error) { return newKey("dev"), nil }},
		{&cfg.CheckpointKey, devCheckpointFile, func() (string, error) { return checkpoint.NewKey("accord.dev") }},
	} {
		if *s.setting != "" {
			continue
		}
		var err error
		if *s.setting, err = devSecret(cfg.StateDir, s.file, s.fresh); err != nil {
			return fmt.Errorf("ACCORD_STATE_DIR: %w", err)
		}
	}
	if cfg.CheckpointDir == "" {
		cfg.CheckpointDir = filepath.Join(cfg.StateDir, devCheckpoints)
	}
	return nil
}

// notary signs the ledger's checkpoints.
func (c *core) notary() (checkpoint.Notary, error) {
	signer, err := checkpoint.NewSigner(c.cfg.CheckpointKey.Reveal())
	if err != nil {
		return checkpoint.Notary{}, fmt.Errorf("ACCORD_CHECKPOINT_KEY %w", err)
	}
	return checkpoint.Notary{Signer: signer, Folder: c.cfg.CheckpointDir}, nil
}

// rewrapBatch is how many customers are locked at once.
const rewrapBatch = 200

// KeysRewrap wraps every data key of the ledger under the current key of ACCORD_LEDGER_KEYS. Repeating it, also after it
// was interrupted, wraps what is left. Without ACCORD_DATABASE_URL it is the development stack's database.
func KeysRewrap(ctx context.Context, cfg config.Config, log *slog.Logger, out io.Writer) error {
	cfg = joinDev(cfg)
	if err := cfg.Validate(config.NeedDatabase, config.NeedLedgerKeys); err != nil {
		return err
	}
	db, err := openLedger(ctx, cfg, log)
	if err != nil {
		return err
	}
	all := 0
	for after, more := preference.CustomerID(""), true; more && err == nil; more = after != "" {
		var n int
		after, n, err = db.Rewrap(ctx, after, rewrapBatch)
		all += n
	}
	fmt.Fprintf(out, "%d keys were wrapped under the current key\n", all)
	return errors.Join(err, db.Close())
}

// KeysNew prints fresh values of the settings that are keys, and what the checkpoints of that key are verified by.
func KeysNew(out io.Writer, now time.Time) error {
	private, err := checkpoint.NewKey("accord")
	if err != nil {
		return err
	}
	signer, err := checkpoint.NewSigner(private)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "ACCORD_LEDGER_KEYS=%s\nACCORD_CHECKPOINT_KEY=%s\n# its public key: %s\n", newKey(now.UTC().Format("2006-01")), private, signer.Verifier())
	return err
}
