package compose

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"accord/adapters/temporal"
	"accord/app/config"
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

// devKeysFile is where the development stack keeps the key that it makes for itself.
const devKeysFile = "temporal-keys"

// devTemporalKeys reads the development stack's key, or makes it.
func devTemporalKeys(stateDir string) (config.Secret, error) {
	path := filepath.Join(stateDir, devKeysFile)
	kept, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return config.Secret(strings.TrimSpace(string(kept))), err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	text := "dev:" + base64.StdEncoding.EncodeToString(secret)
	draft, err := os.CreateTemp(stateDir, devKeysFile+".*") // for its owner alone
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
